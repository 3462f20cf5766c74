"""Runs a Participant by exo: its work in a thread of its own, all else in the main thread."""

import copy
import os
import sys
from typing import Any, Callable, Optional, Tuple

import skynet
from skynet import faults
from skynet.participant import call

from .participant import Participant, format_exception
from .workitem import Workitem

faults.hide(os.path.dirname(os.path.abspath(__file__)))

#: The fault that an exception is: final, since the older hosts told the engine of the first.
FINAL = 10


class ProcessError(RuntimeError):
    """The participant has put an error into the item instead of raising it."""

    def __init__(self, error: Any) -> None:
        said = error if isinstance(error, dict) else {"message": error}
        told = said.get("message") or error
        super().__init__(str(told or f"the item has an error without a text: {error!r}"))
        trace = said.get("trace")
        self.trace = [str(line) for line in trace] if isinstance(trace, list) else []


class Host(skynet.Participant):
    """A Participant as exo's."""

    # Handlers ask for exactly this type.
    _objects = dict
    # As it was with the older hosts: what a handler keeps for each thread is made anew.
    _in_threads = True

    def __init__(self, participant: Participant, code: int = FINAL) -> None:
        self._participant = participant
        self._code = code
        self._in_hand: Optional[Tuple[skynet.Item, Workitem]] = None
        self._is_dying = False

    def finish(self) -> None:
        """Takes no further item."""
        if self._post is not None:
            self._post(None)

    def start(self, config: Any) -> None:
        self._participant._start(config)

    def stop(self) -> None:
        self._participant._stop()
        if self._in_hand is not None:
            # Exo is gone, and a thread that works on is no reason to stay.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)

    def work(self, item: skynet.Item) -> None:
        workitem = Workitem(dict(item.data))
        # A handler may change it in its place.
        before = copy.deepcopy(workitem.error)
        self._in_hand = (item, workitem)
        is_raised = True
        try:
            call(self._participant._consume, workitem)
            is_raised = False
        except (Exception, skynet.Cancelled):
            raise
        except BaseException as ended:
            # To end this thread ends no process, and must not pass for success.
            error = RuntimeError(f"{type(ended).__name__}: {ended}")
            raise error.with_traceback(ended.__traceback__) from None
        finally:
            self._in_hand = None
            answer = (self._participant.workitem or workitem).to_h()
            item.data = answer  # type: ignore[assignment]
            error_of = answer.get("error")
            is_set = _is_error(error_of) and error_of != before
            if is_raised and is_set:
                # The engine is told of the exception.
                del answer["error"]
        if is_set:
            raise ProcessError(error_of)

    def cancel(self, item: skynet.Item) -> None:
        if self._is_dying:
            # The item is wanted: somebody else works on it next.
            return

        def tell() -> None:
            if self._in_hand is not None and self._in_hand[0] is item:
                self._tell(self._participant._cancel, self._in_hand[1], item.cancelled)

        # One process for each item is interrupted by a signal, in the main thread.
        (self._post or _call)(tell)

    def _die(self) -> None:
        self._is_dying = True
        (self._post or _call)(lambda: self._tell(self._participant._die))

    def _tell(self, what: Any, *args: Any) -> None:
        try:
            call(what, *args)
        except (Exception, SystemExit) as error:
            faults.log(error)

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


def _is_error(error: Any) -> bool:
    """Tells what an engine takes for one: it is Ruby, where an empty text is as true as any."""
    return error is not None and error is not False


def _call(what: "Callable[[], None]") -> None:
    what()
