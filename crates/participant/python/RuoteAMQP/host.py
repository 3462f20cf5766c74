"""Runs a Participant by exo: its work in a thread of its own, all else in the main thread."""

import os
import queue
import sys
import threading
from typing import Any, Optional, Tuple

import skynet
from skynet import faults

from .participant import Participant, format_exception
from .workitem import Workitem

faults.hide(os.path.dirname(os.path.abspath(__file__)))

#: The fault that an exception is: final, since the older hosts told the engine of the first.
FINAL = 10

# What the main thread is told while the work runs, besides its end.
_CANCEL, _DIE, _GONE = "cancel", "die", "gone"


class ProcessError(RuntimeError):
    """The participant has put an error into the item instead of raising it."""

    def __init__(self, error: Any) -> None:
        said = error if isinstance(error, dict) else {"message": error}
        super().__init__(str(said.get("message") or error))
        trace = said.get("trace")
        self.trace = [str(line) for line in trace] if isinstance(trace, list) else []


class Host(skynet.Participant):
    """A Participant as exo's."""

    # Handlers ask for exactly this type.
    _objects = dict

    def __init__(self, participant: Participant, code: int = FINAL) -> None:
        self._participant = participant
        self._code = code
        self._events: "queue.SimpleQueue[Tuple[Optional[skynet.Item], Any]]" = queue.SimpleQueue()
        self._is_dying = False
        # Gone without an end of its work.
        self._is_left = False

    @property
    def _finished(self) -> bool:  # type: ignore[override]
        return self._participant._finished

    def start(self, config: Any) -> None:
        self._participant._start(config)

    def stop(self) -> None:
        self._participant._stop()
        if self._is_left:
            # A thread that works on is no reason to stay.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)

    def work(self, item: skynet.Item) -> None:
        item.data = dict(item.data)  # type: ignore[assignment]
        workitem = Workitem(item.data)
        before = workitem.error
        # As it was with the older hosts: what a handler keeps for each thread is made anew.
        worker = threading.Thread(target=self._work, args=(item, workitem), daemon=True)
        worker.start()
        ended: Any = None
        while ended is None:
            of, event = self._events.get()
            if event == _GONE:
                self._is_left = True
                self._tell(self._participant._die)
                raise skynet.Cancelled("exo is gone")
            if event == _DIE:
                self._tell(self._participant._die)
            elif of is not item:
                # It was about an item that is answered by now.
                continue
            elif event == _CANCEL:
                self._tell(self._participant._cancel, workitem)
            else:
                ended = event
        worker.join()
        answer = self._participant.workitem or workitem
        item.data = answer.to_h()  # type: ignore[assignment]
        if ended[0] is not None:
            raise ended[0]
        if answer.error and answer.error != before:
            raise ProcessError(answer.to_h().pop("error"))

    def _work(self, item: skynet.Item, workitem: Workitem) -> None:
        error: Optional[BaseException] = None
        try:
            self._participant._consume(workitem)
        except (Exception, skynet.Cancelled) as raised:
            error = raised
        except BaseException as raised:
            # To end this thread ends no process, and must not pass for success.
            error = RuntimeError(f"{type(raised).__name__}: {raised}")
            error.__traceback__ = raised.__traceback__
        self._events.put((item, (error,)))

    def _tell(self, what: Any, *args: Any) -> None:
        try:
            what(*args)
        except Exception as error:
            faults.log(error)

    def cancel(self, item: skynet.Item) -> None:
        if self._is_dying:
            # The item is wanted: somebody else works on it next.
            return
        if threading.current_thread() is threading.main_thread():
            # One process for each item, interrupted by a signal.
            self._tell(self._participant._cancel, self._participant.workitem)
        else:
            self._events.put((item, _CANCEL))

    def _die(self, is_gone: bool) -> None:
        self._is_dying = True
        self._events.put((None, _GONE if is_gone else _DIE))

    def _judge(self, error: BaseException) -> "Tuple[int, str]":
        if isinstance(error, (skynet.Fault, skynet.Cancelled)):
            return super()._judge(error)
        if isinstance(error, ProcessError):
            return self._code, str(error)
        return self._code, format_exception(error)

    def _trace(self, error: BaseException) -> "list[str]":
        if isinstance(error, ProcessError):
            return error.trace
        return super()._trace(error)
