"""A plain program that uses pika, as it is measured, and whoever asks.

rabbit_bench.py fill PORT VHOST QUEUE COUNT           puts so many items there
rabbit_bench.py work PORT VHOST QUEUE COUNT AHEAD     answers each, with so many on their way; says
                                                      when it answered the first after a tenth of
                                                      them, and the last: seconds, a line each
rabbit_bench.py publish PORT VHOST QUEUE COUNT        publishes so many, a confirm for each; likewise
rabbit_bench.py ask PORT VHOST QUEUE COUNT            says how long each answer took, milliseconds
rabbit_bench.py cancel PORT VHOST QUEUE NUMBER        cancels the item of this number; says when:
                                                      microseconds since 1970
rabbit_bench.py clear PORT VHOST QUEUE                removes the queue and that of its answers

The password is on standard input. Answers go to QUEUE.answers. Whoever starts `work` ends it.
"""

import json
import sys
import time

import pika

PERSISTENT = pika.BasicProperties(content_type="text/plain", delivery_mode=2)
USER = "boss"


def item(number):
    fei = {"wfid": f"new-{number}", "expid": "0_0", "subid": "bench"}
    fields = {"text": "x" * 120, "params": {}}
    return json.dumps({"fei": fei, "fields": fields, "participant_name": "noop"}).encode()


class Marks:
    """Says when the first tenth was done, and when all of it."""

    def __init__(self, count):
        self.marks = (count // 10, count)
        self.done = 0

    def another(self):
        self.done += 1
        if self.done in self.marks:
            print(time.monotonic(), flush=True)


def fill(channel, queue, count):
    # What is not confirmed one by one is confirmed by its being there.
    for number in range(1, count + 1):
        channel.basic_publish("", queue, item(number), PERSISTENT)
    while channel.queue_declare(queue, passive=True).method.message_count < count:
        time.sleep(0.05)


def work(channel, queue, count, ahead):
    marks = Marks(count)

    def take(channel, method, _properties, body):
        # As one who answers does: the item is read, and written anew.
        answer = json.dumps(json.loads(body))
        channel.basic_publish("", answers(queue), answer, PERSISTENT)
        channel.basic_ack(method.delivery_tag)
        marks.another()

    channel.basic_qos(prefetch_count=ahead)
    channel.basic_consume(queue, take)
    channel.start_consuming()


def publish(channel, queue, count):
    channel.confirm_delivery()
    marks = Marks(count)
    for number in range(1, count + 1):
        channel.basic_publish("", queue, item(number), PERSISTENT, mandatory=True)
        marks.another()


def ask(channel, queue, count):
    came = []
    channel.basic_consume(answers(queue), lambda *_: came.append(time.monotonic()), auto_ack=True)
    for number in range(1, count + 1):
        # Nobody does anything before a question.
        time.sleep(0.003)
        begun = time.monotonic()
        channel.basic_publish("", queue, item(number), PERSISTENT)
        while len(came) < number:
            channel.connection.process_data_events(time_limit=30)
        print((came[-1] - begun) * 1000)


def cancel(channel, _queue, number):
    channel.confirm_delivery()
    message = {"cancel": True, "fei": {"wfid": f"new-{number}"}, "flavour": None}
    print(time.time_ns() // 1000)
    channel.basic_publish("skynet-control", "", json.dumps(message).encode(), PERSISTENT)


def clear(channel, queue):
    channel.queue_delete(queue)
    channel.queue_delete(answers(queue))


def answers(queue):
    return queue + ".answers"


def main(mode, port, vhost, queue, *numbers):
    password = sys.stdin.readline().rstrip("\n")
    login = pika.PlainCredentials(USER, password)
    where = pika.ConnectionParameters("127.0.0.1", int(port), vhost, login, heartbeat=0)
    channel = pika.BlockingConnection(where).channel()
    for name in (queue, answers(queue)):
        channel.queue_declare(name, durable=True)
    modes = {"fill": fill, "work": work, "publish": publish, "ask": ask}
    modes |= {"cancel": cancel, "clear": clear}
    modes[mode](channel, queue, *map(int, numbers))


if __name__ == "__main__":
    main(*sys.argv[1:])
