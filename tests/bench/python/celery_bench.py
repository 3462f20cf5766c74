"""Celery, as it is measured.

celery_bench.py fill PORT VHOST QUEUE COUNT                 puts so many tasks there
celery_bench.py work PORT VHOST QUEUE COUNT WORKERS AHEAD   says when it began the first after a
                                                            tenth of them, and when the last:
                                                            seconds, a line each

The password is on standard input. Whoever starts `work` ends it.
"""

import sys
import time

from celery import Celery

mode, port, vhost, queue, count, *workers = sys.argv[1:]
count = int(count)
password = sys.stdin.readline().rstrip("\n")
app = Celery("bench", broker=f"amqp://boss:{password}@127.0.0.1:{port}/{vhost}")
app.conf.update(
    task_acks_late=True,
    task_default_queue=queue,
    task_ignore_result=True,
    # An item that is done is told by what it prints.
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=False,
)
TEXT = "x" * 200


@app.task(name="noop")
def noop(number, item):
    if number in (count // 10, count):
        print(time.monotonic(), flush=True)


def fill():
    with app.connection_for_write() as connection:
        for number in range(1, count + 1):
            noop.apply_async((number, TEXT), connection=connection)


def work(number, ahead):
    app.conf.worker_prefetch_multiplier = int(ahead)
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={number}", *options])


if mode == "fill":
    fill()
else:
    work(*workers)
