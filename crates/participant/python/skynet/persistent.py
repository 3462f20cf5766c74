"""Many items: the conversation on the socket at descriptor 3.

The main thread listens and works; while it is at work for long another one listens, so that a cancel
is heard, and a third one calls the author's `cancel` and `status`, once there is something to call. A
participant that has its main thread free instead gets a thread for each item, and the second thread
listens all the time.
"""

import json
import os
import queue
import re
import socket
import threading
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

from . import exact
from .faults import Cancelled, Final, Refused, log, say
from .item import Channel, Fields, Item, set_engine, share, speak_by, words
from .participant import DESCRIPTOR, Participant, attempt, call, handler_of, stop

VERSION = 1
#: Seconds: between one and two of them at work are long, and behind a rest a look more. What another
#: thread hears costs two changes of threads, and most work is done sooner.
LONG = 0.002
#: Seconds between two looks whether the main thread is at work, and how many of them are in vain before
#: it has to wake who looks. To be woken would cost each item that comes alone two changes of threads.
LOOK = 0.005
LOOKS = 50


class Start(NamedTuple):
    """The first job: to get ready."""

    protocol: int
    config: Fields


class Work(NamedTuple):
    """A job; without an item where that could not be read."""

    id: int
    item: Optional[Item]
    before: Optional[bytes]


class Nonsense(Exception):
    """A message that has no meaning."""


class Link(Channel):
    """The socket to exo: lines out, and answers to what was sent. Used by both threads."""

    def __init__(self) -> None:
        self.socket = socket.socket(fileno=DESCRIPTOR)
        # A child that outlives us must not keep the conversation open.
        self.socket.set_inheritable(False)
        self._out = threading.Lock()
        self._tickets = threading.Lock()
        self._last = 0
        self._waiting: "Optional[Dict[int, queue.SimpleQueue[Any]]]" = {}
        # We are a process that was forked: the conversation is our parent's.
        self._is_left = False
        #: Has somebody listen who waits for an answer; raises Refused where nobody can.
        self.hurry: Callable[[], None] = lambda: None
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        self._is_left = True
        # Only its descriptor: to shut it down would end it for the parent, too.
        descriptor = self.socket.detach()
        if descriptor >= 0:
            os.close(descriptor)

    def say(self, kind: str, item: Optional[bytes] = None, **rest: Any) -> None:
        """Says it. Where exo is gone nobody hears it; the end of its lines tells the listener."""
        if self._is_left:
            return
        members = {"type": kind, **{k: _sayable(v) for k, v in rest.items() if v is not None}}
        line = json.dumps(members, separators=(",", ":")).encode()
        if item is not None:
            line = line[:-1] + b',"item":' + item + b"}"
        try:
            with self._out:
                self.socket.sendall(line + b"\n")
        except OSError:
            pass

    def progress(self, item: Item) -> None:
        self.say("progress", id=item._id, done=item.done, text=item.text)

    def stage(self, item: Item) -> None:
        self.say("stage", id=item._id, stage=item.stage)

    def forward(self, queue_name: str, item: bytes) -> Optional[int]:
        if self._is_left:
            raise Refused("exo does not speak with a process that was forked")
        self.hurry()
        answer: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        with self._tickets:
            if self._waiting is None:
                raise Refused("exo is gone")
            self._last += 1
            ticket = self._last
            self._waiting[ticket] = answer
        self.say("forward", item, ticket=ticket, queue=queue_name)
        job, refused = answer.get()
        if refused is not None:
            raise Refused(refused)
        return job

    def sent(self, message: Dict[str, Any]) -> None:
        """Hands an answer to whoever waits for it."""
        with self._tickets:
            waiting = (self._waiting or {}).pop(_need(message, "ticket", int), None)
        if waiting is not None:
            # Where RabbitMQ keeps it, it is safe there without being a job here.
            waiting.put((message.get("job"), message.get("refused")))

    def close(self) -> None:
        """No answer comes any more."""
        with self._tickets:
            waiting, self._waiting = self._waiting or {}, None
        for answer in waiting.values():
            answer.put((None, "exo is gone"))


def _sayable(value: Any) -> Any:
    """Spells out half a surrogate pair (of a file name that is not UTF-8): exo reads none."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_sayable(member) for member in value] if isinstance(value, list) else value


def _need(message: Dict[str, Any], key: str, kind: type) -> Any:
    value = message.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Nonsense(f"{message.get('type')} without {key}")
    return value


class Hooks:
    """The thread in which `cancel` and `status` are called. Not the listener's: they may wait for
    what only that hears, such as the answer to a forward."""

    def __init__(self) -> None:
        self._calls: "queue.SimpleQueue[Optional[Callable[[], None]]]" = queue.SimpleQueue()
        self._thread: Optional[threading.Thread] = None

    def call(self, what: "Callable[[], None]") -> None:
        """Has something called, behind what was to be called before."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="hooks", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                say(f"warning: unable to start a thread for cancel and status: {error}")
                return
            self._thread = thread
        self._calls.put(what)

    def end(self) -> None:
        """Waits until all is called."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (what := self._calls.get()) is not None:
            try:
                call(what)
            except BaseException as error:  # To leave by sys.exit or item.check ends no thread, either.
                log(error)


class Listener(threading.Thread):
    """Listens until exo says no more, while the main thread does not."""

    def __init__(self, link: Link, handler: Participant, hooks: Hooks) -> None:
        super().__init__(name="exo", daemon=True)
        self.jobs: "queue.SimpleQueue[Union[Start, Work, Callable[[], None], None]]"
        self.jobs = queue.SimpleQueue()
        self.items: Dict[int, Item] = {}
        self._link = link
        self._lines = link.socket.makefile("rb")
        self._handler = handler
        self._hooks = hooks
        # Threads that work, and whether nothing but their end is waited for.
        self._turn = threading.RLock()
        self._working = 0
        self._is_ending = False
        self._is_gone = False
        # The main thread is at work, how often it began, and whether it waits there for what we hear.
        self._is_at_work = False
        self._begun = 0
        self._is_wanted = False
        # We listen, or rest until the main thread begins.
        self._is_listening = handler._in_threads
        self._is_resting = False
        self._wakes: "queue.SimpleQueue[None]" = queue.SimpleQueue()

    def job(self) -> "Union[Start, Work, Callable[[], None], None]":
        """Returns what the main thread is to do, which listens unless we do."""
        with self._turn:
            self._is_at_work = self._is_wanted = False
            hears = not self._is_listening and self.jobs.empty()
        try:
            if hears:
                self._listen()
            return self.jobs.get()
        finally:
            with self._turn:
                self._is_at_work = True
                self._begun += 1
                rests, self._is_resting = self._is_resting, False
            if rests:
                self._wakes.put(None)

    def hurry(self) -> None:
        """Listens at once: somebody waits for what is heard."""
        with self._turn:
            is_main = threading.current_thread() is threading.main_thread()
            if is_main and not (self._is_at_work or self._is_listening):
                # It has stopped to listen for that, and goes on only behind it.
                raise Refused("a signal's handler between two items cannot wait for exo")
            self._is_wanted = True
            rests = not self._is_listening
        if rests:
            self._wakes.put(None)

    def end(self) -> None:
        """Listens to the end, which is near, and waits for it."""
        with self._turn:
            self._is_at_work = self._is_wanted = True
        self._wakes.put(None)
        self.join()

    def is_done(self) -> bool:
        """Tells whether nobody works any more; where somebody does, a job None follows."""
        with self._turn:
            self._is_ending = True
            return self._is_gone or self._working == 0

    def _take(self, job: Work) -> None:
        if not self._handler._in_threads:
            self.jobs.put(job)
            return
        with self._turn:
            self._working += 1
        try:
            threading.Thread(target=self._work, args=(job,), name="work", daemon=True).start()
        except RuntimeError as error:
            # Of processes or memory there are no more: later there may be.
            self.items.pop(job.id, None)
            with self._turn:
                self._working -= 1
            say(f"warning: unable to work on item {job.id}: {error}")
            self._link.say("fault", id=job.id, code=2, text=f"unable to start work: {error}")

    def _work(self, job: Work) -> None:
        try:
            _work(self._link, self, self._handler, job)
        finally:
            with self._turn:
                self._working -= 1
                is_awaited = self._is_ending
            if is_awaited:
                self.jobs.put(None)

    def run(self) -> None:
        while not self._is_gone:
            if not self._handler._in_threads:
                self._wait()
            self._listen()
            with self._turn:
                # One that waits for us goes on waiting.
                is_served = self._is_at_work or not self.jobs.empty()
                self._is_listening = self._handler._in_threads or not is_served
        self._lines.close()

    def _wait(self) -> None:
        """Waits until the main thread is at the same for long, unless that waits for us."""
        before = vain = 0
        while not self._is_gone:
            with self._turn:
                is_long = self._is_wanted or self._begun == before
                self._is_listening |= self._is_at_work and is_long
                if self._is_listening:
                    return
                vain = vain + 1 if self._begun == before else 0
                self._is_resting, before = not self._is_at_work and vain > LOOKS, self._begun
                limit = LONG if self._is_at_work else None if self._is_resting else LOOK
            try:
                self._wakes.get(timeout=limit)
            except queue.Empty:
                pass

    def _listen(self) -> None:
        """Listens until there is something to do for the main thread."""
        try:
            for line in self._lines:
                if line.endswith(b"\n"):
                    self._hear_calmly(line)
                if not self.jobs.empty():
                    return
        except OSError:
            pass
        if not self._is_gone:
            self._is_gone = True
            self._handler._die()
            self.jobs.put(None)
            self._link.close()
            self._cancel_all()

    def _hear_calmly(self, line: bytes) -> None:
        try:
            self._hear(exact.loads(line, self._handler._objects))
        except RecursionError:
            # What Python cannot read is the item; all before it is exo's.
            found = re.match(rb'\{"type":"work","id":(\d+)', line)
            if found:
                self._take(Work(int(found[1]), None, None))
        except (ValueError, Nonsense) as error:
            say(f"warning: exo said what is not understood: {error}")

    def _hear(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise Nonsense("an object is expected")
        kind = message.get("type")
        if kind == "start":
            protocol = _need(message, "protocol", int)
            config = _need(message, "config", dict)
            # An exo of before that was told says nothing of it.
            set_engine(_need(message, "engine", str) if "engine" in message else None)
            self.jobs.put(Start(protocol, config))
        elif kind == "work":
            id = _need(message, "id", int)
            item = Item(
                _need(message, "item", dict),
                attempt=_need(message, "attempt", int),
                stage=message.get("stage"),
                channel=self._link,
            )
            item._id = id
            self.items[id] = item
            self._take(Work(id, item, item.json()))
        elif kind == "cancel":
            self._cancel(_need(message, "id", int), _need(message, "flavour", str))
        elif kind == "status":
            self._status(_need(message, "id", int))
        elif kind == "shutdown":
            self.jobs.put(None)
        elif kind == "about-to-die":
            self._handler._die()
            self._cancel_all()
        elif kind == "sent":
            self._link.sent(message)
        else:
            raise Nonsense(f"unknown type {kind!r}")

    def _cancel(self, id: int, flavour: str) -> None:
        item = self.items.get(id)
        if item is None:
            return
        item.cancelled = flavour

        def tell() -> None:
            # Answered meanwhile, it is not in hand any more.
            if self.items.get(id) is item:
                call(self._handler.cancel, item)

        self._hooks.call(tell)

    def _cancel_all(self) -> None:
        for id in list(self.items):
            self._cancel(id, "kill")

    def _status(self, id: int) -> None:
        item = self.items.get(id)
        if item is not None:
            self._hooks.call(lambda: self._report(id, item))

    def _report(self, id: int, item: Item) -> None:
        said: Any = None
        try:
            said = call(self._handler.status, item)
        except (Exception, Cancelled) as error:
            log(error)
        done, text = item.done, item.text
        if isinstance(said, tuple) and len(said) == 2:
            done, text = said
        elif isinstance(said, str):
            text = said
        elif said is not None:
            done = said
        self._link.say("progress", id=id, done=share(done), text=words(text))


def run(what: Any) -> int:
    """Works on items until no more come; returns the exit code."""
    try:
        handler = handler_of(what)
    except Exception as error:
        log(error)
        return 111
    link = Link()
    speak_by(link)
    hooks = Hooks()
    listener = Listener(link, handler, hooks)
    if handler._in_threads:
        handler._post = listener.jobs.put
    else:
        link.hurry = listener.hurry
    listener.start()
    try:
        return _serve(link, listener, handler)
    finally:
        stop(handler)
        # Wakes the listener, so that nothing is left open.
        try:
            link.socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass
        listener.end()
        hooks.end()
        link.socket.close()


def _serve(link: Link, listener: Listener, handler: Participant) -> int:
    while True:
        job = listener.job()
        if job is None:
            if listener.is_done():
                return 0
        elif isinstance(job, Start):
            try:
                call(handler.start, job.config)
            except Exception as error:
                log(error)
                return 111
            link.say("hello", protocol=min(job.protocol, VERSION))
        elif isinstance(job, Work):
            _work(link, listener, handler, job)
        else:
            call(job)


def _work(link: Link, listener: Listener, handler: Participant, job: Work) -> None:
    id, item, before = job
    try:
        if item is None:
            raise Final("not a work item: nested too deeply")
        answer = attempt(handler, item)
        # An item that is not changed goes back as it came, byte for byte.
        text = answer.json()
        listener.items.pop(id, None)
        link.say("result", None if text == before else text, id=id, forget=answer.forget or None)
    except (Exception, Cancelled) as error:
        listener.items.pop(id, None)
        if item is not None and item.cancelled:
            link.say("cancelled", id=id)
            return
        code, why = handler._judge(error)
        log(error, why)
        trace = handler._trace(error)
        link.say("fault", _as_it_is(item, before), id=id, code=code, text=why, trace=trace)


def _as_it_is(item: Optional[Item], before: Optional[bytes]) -> Optional[bytes]:
    try:
        text = item.json() if item is not None else None
    except Exception:
        return None
    return None if text == before else text
