"""What the work on an item can end with."""

import os
import sys
import traceback
from types import TracebackType
from typing import List, Optional

# Folders whose calls are no part of a trace as long as no other call stands before them.
_OURS = {os.path.dirname(os.path.abspath(__file__))}

# A trace tells its innermost calls: a runaway recursion has a thousand.
_LONGEST_TRACE = 50


class Fault(Exception):
    """The work failed, with a code of its own: 1 to 9 to be tried again, 10 to 899 final.

    In per-item mode, where the code is the exit code, those above 255 become 255.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        if not 1 <= code <= 899:
            raise ValueError(f"fault with code {code}, which is no failure")
        self.code = code

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return (type(self), (str(self), self.code))


class Retry(Fault):
    """The item is to be tried again; code 1 to 9."""

    def __init__(self, text: str, code: int = 1) -> None:
        if not 1 <= code <= 9:
            raise ValueError(f"code {code} is none to be tried again: 1 to 9 are")
        super().__init__(text, code)


class Final(Fault):
    """The item is not to be tried again; code 10 to 899."""

    def __init__(self, text: str, code: int = 10) -> None:
        if not 10 <= code <= 899:
            raise ValueError(f"code {code} is not final: 10 to 899 are")
        super().__init__(text, code)


class Cancelled(BaseException):
    """The item is not wanted any more. No Exception: who catches all faults does not mean this."""


class Refused(Exception):
    """A further item was not taken."""


def hide(folder: str) -> None:
    """Leaves the calls in this folder out of traces, where they stand first."""
    _OURS.add(folder)


def left(by: str, error: SystemExit) -> Fault:
    """Returns the fault that it is to leave by sys.exit: its code, as that of a process, or its text.

    Even where that would be a success: what calls it has not come to its end.
    """
    code = error.code
    if code is None or isinstance(code, int):
        said = f"({code})" if code else ""
        fault = Fault(f"{by} called sys.exit{said}", (code or 0) & 255 or 1)
    else:
        fault = Fault(str(code), 1)
    return fault.with_traceback(error.__traceback__)


def code_of(error: BaseException) -> int:
    """Returns the code of the fault that an exception is."""
    return error.code if isinstance(error, Fault) else 1


def text_of(error: BaseException) -> str:
    """Returns its text: an author's own words, or `Class: message`."""
    try:
        said = str(error)
    except Exception:  # An author's class may have a __str__ that fails.
        said = "(no text)"
    if isinstance(error, Fault):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def trace_of(error: BaseException) -> List[str]:
    """Returns where it happened, outermost call first, without the calls of the kit."""
    return [
        f"{frame.filename}:{frame.lineno}: in `{frame.name} {frame.line}'"
        for frame in traceback.extract_tb(_authors_part(error))[-_LONGEST_TRACE:]
    ]


def _authors_part(error: BaseException) -> Optional[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if os.path.dirname(os.path.abspath(file)) not in _OURS:
            break
        trace = trace.tb_next
    return trace


def log(error: BaseException, text: Optional[str] = None) -> None:
    """Writes it to the log, its text last: in per-item mode exo takes the last line for it."""
    part = _authors_part(error)
    text = text_of(error) if text is None else text
    # Where all of it is the kit's own, the text says what there is to say.
    is_alone = part is None and error.__cause__ is None and error.__context__ is None
    told = [] if is_alone else traceback.format_exception(type(error), error, part)
    lines = "".join(told).splitlines()
    if lines[-1:] != [text]:
        lines.append(text)
    say("\n".join(lines))


def say(text: str) -> None:
    """Writes to the log. A log that is closed is no reason to end."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
