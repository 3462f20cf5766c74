"""The participant that the double of exo talks with; crates/participant/examples/conform.rs does
the same. `fields.do` says what."""

import os
import signal
import sys
import threading
import time
import warnings

import skynet


@skynet.participant
class Conform(skynet.Participant):
    def __init__(self):
        self.cancelled = threading.Event()

    def start(self, config):
        if config.fail:
            raise RuntimeError("told to fail")
        self.greeting = config.greeting
        print("started", flush=False)

    def work(self, item):
        fields = item.fields
        print(f"{item.wfid}: {fields.do}")
        self.cancelled.clear()
        return getattr(self, f"do_{fields.do}")(item, fields)

    def do_nothing(self, item, fields):
        pass

    def do_look(self, item, fields):
        print(item.fei.wfid, item.params.unit, fields.none, item.result)

    def do_answer(self, item, fields):
        fields.greeting = self.greeting
        fields.attempt = item.attempt
        fields.unit = item.params.unit
        item.result = True

    def do_engine(self, item, fields):
        fields.engine = skynet.engine()

    def do_forget(self, item, fields):
        item.forget = True

    def do_forget_and_fail(self, item, fields):
        item.forget = True
        raise skynet.Final("never told")

    def do_forget_and_give_back(self, item, fields):
        fields.seen = True
        self.do_forget_and_fail(item, fields)

    def do_forget_and_panic(self, item, fields):
        item.forget = True
        raise RuntimeError("never told")

    def do_retry(self, item, fields):
        fields.seen = True
        raise skynet.Retry("not now", 3)

    def do_final(self, item, fields):
        raise skynet.Final("never", 12)

    def do_error(self, item, fields):
        int("x")

    def do_wait(self, item, fields):
        item.progress(0.25, "waiting")
        # The longest that a test takes.
        self.cancelled.wait(60)
        item.check()

    def do_finish_late(self, item, fields):
        item.progress(0.25, "waiting")
        self.cancelled.wait(60)
        fields.late = item.cancelled

    def do_stage(self, item, fields):
        if item.stage == "pushed":
            fields.found = item.stage
        else:
            item.set_stage("pushed")
            os._exit(99)

    def do_forward(self, item, fields):
        try:
            fields.job = item.forward(fields.queue, {"fields": {"n": fields.n}})
        except skynet.Refused as error:
            fields.refused = str(error)

    def do_formless(self, item, fields):
        fields.list = [{"y": {1}}]

    def do_leave(self, item, fields):
        fields.seen = True
        sys.exit(fields.code)

    def do_stumble(self, item, fields):
        self.do_wait(item, fields)

    def do_forward_meanwhile(self, item, fields):
        self.do_wait(item, fields)

    def do_fork(self, item, fields):
        # Newer Pythons warn of threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child:
            fields.code = os.waitpid(child, 0)[1] >> 8
            return None
        fields.child = True
        if fields.how == "exit":
            sys.exit(5)
        if fields.how == "raise":
            raise RuntimeError("in the child")
        if fields.how == "look":
            try:
                os.fstat(3)
            except OSError:
                sys.exit(7)
        if fields.how == "twice":
            # By the number that the conversation had.
            own = os.open(os.devnull, os.O_RDONLY)
            if not os.fork():
                os.fstat(own)
                os._exit(9)
            sys.exit(os.wait()[1] >> 8)
        if fields.how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        if fields.how == "speak":
            item.progress(0.5, "of the child")
            item.forward("q", {"fields": {}})
        return item

    def cancel(self, item):
        print(f"{item.wfid}: cancel {item.cancelled}")
        try:
            if item.fields.do == "forward_meanwhile":
                item.forward("cancelled", {"fields": {}})
        finally:
            self.cancelled.set()
        if item.fields.do == "stumble":
            sys.exit("stumbled")

    def status(self, item):
        if item.fields.do == "forward_meanwhile":
            skynet.forward("asked", {"fields": {}})
        if item.fields.do == "stumble":
            raise skynet.Cancelled("stumbled")

    def stop(self):
        print("stopped")


if __name__ == "__main__":
    skynet.run()
