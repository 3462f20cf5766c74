"""Does what an item says: the ways of real handlers, one by one."""

import errno
import io
import os
import signal
import sqlite3
import sys
import threading
import time
import warnings
from urllib.error import HTTPError

import skynet
from SkyNET import WorkItemCtrl, Workitem
from SkyNET.Control import ParticipantCtrl
from RuoteAMQP.participant import Workitem as Same


class OscError(Exception):
    """Says nothing as text."""

    def __init__(self, msg):
        Exception.__init__(self)
        self.msg = msg


class ParticipantHandler(object):

    def __init__(self):
        self.cancelled = threading.Event()
        self.main = threading.current_thread()
        self.db = None

    def handle_lifecycle_control(self, ctrl):
        assert isinstance(ctrl, WorkItemCtrl)
        assert threading.current_thread() is threading.main_thread()
        if ctrl.start():
            # Only the main thread may.
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            if ctrl.config.has_option("quirks", "fail"):
                raise RuntimeError(ctrl.config.get("quirks", "fail"))
            if ctrl.config.has_option("quirks", "threads"):
                # As where the user has all the processes that are allowed.
                threading.Thread.start = self.no_thread
            self.greeting = ctrl.config.get("quirks", "greeting")
            self.site = ctrl.config.get("quirks", "site", fallback=None)
        print("lifecycle %s" % ctrl.message)
        if ctrl.die():
            self.cancelled.set()

    def no_thread(self):
        raise RuntimeError("can't start new thread")

    def handle_wi_control(self, ctrl):
        assert threading.current_thread() is threading.main_thread()
        self.log.info("control %s", ctrl.message)
        self.log.info("of %s, flavour %s", ctrl.workitem.fields.do, ctrl.flavour)
        assert ctrl.fei == ctrl.workitem.fei
        self.cancelled.set()

    def handle_wi(self, wid):
        assert isinstance(wid, Workitem) and Workitem is Same
        is_per_item = "SKYNET_ATTEMPT" in os.environ
        assert is_per_item == (threading.current_thread() is threading.main_thread())
        self.cancelled.clear()
        getattr(self, "do_" + wid.fields.do)(wid)

    def do_nothing(self, wid):
        pass

    def do_answer(self, wid):
        f = wid.fields
        f.greeting = self.greeting
        f.site = self.site
        f.unit = wid.params.unit
        f.absent = wid.params.absent
        f.ev = {}
        f.is_true = bool(f.ev)
        f.ev.actions = [{"type": "submit"}]
        f.keys = sorted(f)[:2]
        f.copy = wid.dup().fields.ev
        f.proxies = [f.ev]
        wid.set_field("a.b.c", wid.lookup("ev.actions")[0]["type"])
        f.wid = wid.wfid
        f.sid = wid.sid
        f.child = wid.fei.child_id
        f.types = [type(f.as_dict()).__name__, type(f.as_dict()["params"]).__name__]
        wid.result = True

    def do_delete(self, wid):
        del(wid.fields.as_dict()["do"])
        wid.fields.items = [1, 2]
        wid.result = "yes"

    def do_database(self, wid):
        # One that is opened in a thread is that thread's.
        db = sqlite3.connect(":memory:")
        wid.fields.one = db.execute("select 1").fetchone()[0]

    def do_file(self, wid):
        open("/nonexistent/file")

    def do_oserror(self, wid):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def do_http(self, wid):
        raise HTTPError("http://localhost/x", 404, "Not Found", None, io.BytesIO())

    def do_msg(self, wid):
        raise OscError("the server is away")

    def do_plain(self, wid):
        wid.fields.seen = True
        raise RuntimeError("Missing mandatory field 'ev.actions'")

    def do_later(self, wid):
        raise skynet.Retry("not now", 3)

    def do_exit(self, wid):
        sys.exit(5)

    def do_fork(self, wid):
        # Newer Pythons warn of threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child:
            wid.fields.code = os.waitpid(child, 0)[1] >> 8
            return
        wid.fields.child = True
        if wid.fields.how == "exit":
            sys.exit(5)
        if wid.fields.how == "raise":
            raise RuntimeError("in the child")
        if wid.fields.how == "look":
            try:
                os.fstat(3)
            except OSError:
                sys.exit(7)
        if wid.fields.how == "twice":
            # By the number that the conversation had.
            own = os.open(os.devnull, os.O_RDONLY)
            if not os.fork():
                os.fstat(own)
                os._exit(9)
            sys.exit(os.wait()[1] >> 8)
        if wid.fields.how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    def do_set_error(self, wid):
        wid.error = {"class": "My::Err", "message": "not like this", "trace": ["a:1: in `b c'"], "extra": 1}

    def do_set_text(self, wid):
        wid.error = "only a text"

    def do_change_error(self, wid):
        wid.error["message"] = "another"

    def do_set_and_raise(self, wid):
        wid.error = "set"
        raise RuntimeError("raised")

    def do_set_empty(self, wid):
        wid.error = {}

    def do_forget(self, wid):
        wid.forget = True

    def do_forget_and_fail(self, wid):
        wid.forget = True
        raise RuntimeError("never told")

    def do_bytes(self, wid):
        wid.fields.out = b"as Python 2 took it for text"

    def do_wait(self, wid):
        # Not by print: a signal that comes within that cannot print.
        os.write(2, b"waiting\n")
        self.cancelled.wait(60)
        raise RuntimeError("told to end")

    def do_finish_late(self, wid):
        print("waiting", file=sys.stderr)
        self.cancelled.wait(60)
        wid.fields.late = True

    def do_stay(self, wid):
        print("waiting", file=sys.stderr)
        threading.Event().wait(60)

    def do_crash(self, wid):
        os._exit(99)
