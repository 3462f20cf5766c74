"""A participant of before SkyNET: a class with a method consume, and a call of run."""

import sys

from RuoteAMQP.workitem import Workitem
from RuoteAMQP.participant import Participant


class Counter(Participant):
    count = 0

    def consume(self):
        wi = self.workitem
        Counter.count = Counter.count + 1
        wi.set_field("count", Counter.count)
        if wi.lookup("other"):
            self.reply_to_engine(Workitem(wi.lookup("other")))
        wi.result = True
        if Counter.count == 3:
            self.finish()


if __name__ == "__main__":
    print("Started a participant")
    p = Counter(ruote_queue="counter", amqp_host="amqpvm", amqp_user="ruote", amqp_pass="secret", amqp_vhost="ruote")
    p.register("counter", {"queue": "counter"})
    p.run()
    print("ran to its end")
    sys.exit(0)
