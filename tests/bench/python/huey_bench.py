"""huey on SQLite, as it is measured.

huey_bench.py fill DATABASE SYNC COUNT                puts so many tasks there
huey_bench.py work DATABASE SYNC COUNT WORKERS TYPE   says when it began the first after a tenth of
                                                      them, and when the last: seconds, a line each

SYNC is fsync or off; TYPE is thread or process. Whoever starts `work` ends it.
"""

import sys
import time

from huey import SqliteHuey

mode, database, sync, count, *workers = sys.argv[1:]
count = int(count)
huey = SqliteHuey("bench", filename=database, fsync=sync == "fsync")
TEXT = "x" * 200


@huey.task()
def noop(number, item):
    if number in (count // 10, count):
        print(time.monotonic(), flush=True)


if mode == "fill":
    for number in range(1, count + 1):
        noop(number, TEXT)
elif mode == "work":
    number, kind = workers
    huey.create_consumer(workers=int(number), worker_type=kind, periodic=False).run()
