"""One item: it is on descriptor 0, the answer goes to 3, the exit code tells the outcome.

Without exo (nothing in the environment names a participant) the answer goes to where descriptor 1
leads, and what would have gone there to descriptor 2: a way to try things.
"""

import os
import signal
import sys
from typing import Any, Optional

from . import exact
from .faults import Cancelled, Final, left, log, say
from .item import Fields, Item
from .participant import DESCRIPTOR, Participant, attempt, call, handler_of, stop


def run(what: Any) -> int:
    """Works on the item; returns the exit code."""
    by_hand = not os.environ.get("SKYNET_PARTICIPANT")
    if not by_hand:
        answer = DESCRIPTOR
        try:
            # A child that outlives us must not keep the answer open.
            os.set_inheritable(answer, False)
        except OSError:
            pass
    elif sys.stdin is None or sys.stdin.isatty():
        say('usage: give it a work item on descriptor 0, such as {"fields":{}}')
        return 100
    else:
        answer = os.dup(1)
        os.dup2(2, 1)
    os.register_at_fork(after_in_child=Ours(answer).leave)
    outcome = Outcome()
    error = outcome.make(what)
    if outcome.handler is not None:
        stop(outcome.handler)
    if isinstance(error, Cancelled) and outcome.item is not None and outcome.item.cancelled:
        os.kill(os.getpid(), signal.SIGTERM)
    error = _answer(answer, outcome, by_hand, error)
    if error is None:
        return 0
    judge = outcome.handler._judge if outcome.handler is not None else Participant()._judge
    code, text = judge(error)
    log(error, text)
    return min(code, 255)


class Ours:
    """The answer, until a process is forked: in what that one forks the number may be another file's."""

    def __init__(self, answer: int) -> None:
        self._answer: Optional[int] = answer

    def leave(self) -> None:
        """Has a process that was forked, and may outlive us, not keep the answer open."""
        answer, self._answer = self._answer, None
        if answer is not None:
            try:
                os.close(answer)
            except OSError:
                pass


class Outcome:
    """What became of the item."""

    handler: Optional[Participant] = None
    item: Optional[Item] = None
    # As it came.
    before = b""

    def make(self, what: Any) -> Optional[BaseException]:
        """Has the work done; returns what went wrong."""
        try:
            handler = handler_of(what)
            self.item = _read(handler)
            self.before = self.item.json()
            self.handler = handler
            call(self.handler.start, _config())
            _heed_term(self.handler, self.item)
            self.item = attempt(self.handler, self.item)
        except (Exception, Cancelled) as error:
            return error
        except SystemExit as error:
            return left("start", error)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return None


def _answer(
    answer: int, outcome: Outcome, by_hand: bool, error: Optional[BaseException]
) -> Optional[BaseException]:
    """Writes the item where it is to be written; returns what is wrong by now."""
    if outcome.item is None:
        return error
    try:
        text = outcome.item.json()
        # Nothing written: it goes back as it came, byte for byte.
        if text != outcome.before or (by_hand and error is None):
            # It stays open, so that nothing else gets its number, which forks close.
            with open(answer, "wb", closefd=False) as file:
                file.write(text + b"\n" if by_hand else text)
    except Exception as trouble:
        return error or trouble
    return error


def _read(handler: Participant) -> Item:
    try:
        with open(0, "rb", closefd=False) as file:
            data = exact.loads(file.read(), handler._objects)
        attempt_number = os.environ.get("SKYNET_ATTEMPT") or "1"
        return Item(data, attempt=int(attempt_number), stage=os.environ.get("SKYNET_STAGE") or None)
    except (OSError, ValueError, RecursionError) as error:
        raise Final(f"unable to read the item: {error}") from None


def _config() -> Fields:
    config = exact.loads(os.environ.get("SKYNET_SETTINGS") or "{}", Fields)
    if not isinstance(config, Fields):
        raise Final("SKYNET_SETTINGS: an object is expected")
    return config


def _heed_term(handler: Participant, item: Item) -> None:
    """Has TERM, by which exo cancels here, end the work by an exception."""

    ours = os.getpid()

    def leave(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != ours:
            # A process that was forked just ends: its parent is asked, too.
            os.kill(os.getpid(), signal.SIGTERM)
            return
        item.cancelled = "cancel"
        try:
            call(handler.cancel, item)
        except (Exception, SystemExit) as error:
            log(error)
        raise Cancelled(item.cancelled)

    signal.signal(signal.SIGTERM, leave)
