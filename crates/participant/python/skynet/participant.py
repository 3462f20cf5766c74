"""What an author writes, and how it is run."""

import os
import stat
import sys
from typing import Any, Callable, List, NoReturn, Optional, Tuple, Union

from .faults import code_of, left, log, say, text_of, trace_of
from .item import Fields, Item

#: The descriptor of a participant that leads to exo.
DESCRIPTOR = 3


class Participant:
    """A participant with a life of its own. Only `work` must be written."""

    #: What each JSON object becomes.
    _objects: Callable[[dict], Any] = Fields
    #: Each item has a thread of its own; the main thread does what is posted.
    _in_threads = False
    #: In persistent mode, has the main thread call something, or end once no item is in hand.
    _post: Optional[Callable[[Optional[Callable[[], None]]], None]] = None

    def start(self, config: Fields) -> None:
        """Gets ready, once, before the first item; `config` is what the configuration says."""

    def work(self, item: Item) -> Optional[Item]:
        """Does the work on an item, in the main thread. Returns what goes back; None = `item`."""
        raise NotImplementedError(f"{type(self).__name__} has no method work")

    def cancel(self, item: Item) -> None:
        """Is told that `item`, in hand, is not wanted any more; `item.cancelled` says why.

        In persistent mode it is called in another thread, while `work` runs: it may kill a child
        or close a connection, so that `work` fails soon. One thread calls it and `status`, so that
        each waits for the one before. Where `work` has ended first it is not called. In per-item mode it is called in the main
        thread, which then leaves `work` by the exception Cancelled.
        """

    def status(self, item: Item) -> "Union[None, str, float, Tuple[Optional[float], Optional[str]]]":
        """Is asked how far the work on `item` is, in another thread: a text, a share from 0 to 1,
        or both. None = what `item.progress` said last."""
        return None

    def stop(self) -> None:
        """Cleans up, once, behind the last item. A process that is killed never comes here."""

    def _die(self) -> None:
        """Is told, in another thread, that what is in hand is about to be given up."""

    def _judge(self, error: BaseException) -> "Tuple[int, str]":
        """Returns code and text of the fault that an exception is."""
        return code_of(error), text_of(error)

    def _trace(self, error: BaseException) -> List[str]:
        """Returns where it happened."""
        return trace_of(error)


class _Function(Participant):
    """A function from item to item as a participant."""

    def __init__(self, function: "Callable[[Item], Optional[Item]]") -> None:
        self._function = function

    def work(self, item: Item) -> Optional[Item]:
        return self._function(item)


class _Partial(Participant):
    """A class of the author's that may lack any method but work."""

    def __init__(self, inner: Any) -> None:
        for name in ("start", "work", "cancel", "status", "stop"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))


_registered: Any = None


def participant(what: Any) -> Any:
    """Makes a function, or a class like Participant, the one that `run` runs. Leaves it as it is."""
    global _registered
    if _registered is not None:
        raise RuntimeError("a file has one participant")
    _registered = what
    return what


def handler_of(what: Any) -> Participant:
    """Returns a function, a class or an object of one as a participant."""
    if isinstance(what, type):
        what = what()
    if isinstance(what, Participant):
        return what
    if hasattr(what, "work"):
        return _Partial(what)
    if callable(what):
        return _Function(what)
    raise TypeError(f"{what!r} is no participant")


def call(what: "Callable[..., Any]", *args: Any) -> Any:
    """Calls what an author wrote. A process that was forked there ends where it comes back: exo speaks
    with its parent, who answers and cleans up."""
    process = os.getpid()
    try:
        said = what(*args)
    except BaseException as error:
        if os.getpid() != process:
            _end(error)
        raise
    if os.getpid() != process:
        _end(None)
    return said


def _end(error: Optional[BaseException]) -> NoReturn:
    """Ends a process that was forked, as Python ends one, but for what its parent does at its end."""
    code: Any = 1
    if error is None:
        code = 0
    elif not isinstance(error, SystemExit):
        log(error)
    elif error.code is None or isinstance(error.code, int):
        code = error.code or 0
    else:
        say(str(error.code))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(code & 255)


def attempt(handler: Participant, item: Item) -> Item:
    """Has the work on an item done, and returns what goes back."""
    try:
        answer = call(handler.work, item)
    except SystemExit as error:
        raise left("work", error) from None
    if answer is None:
        return item
    if not isinstance(answer, Item):
        raise TypeError(f"work returned {type(answer).__name__} instead of an item")
    return answer


def stop(handler: Participant) -> None:
    """Has it clean up; what goes wrong there spoils no answer."""
    try:
        call(handler.stop)
    except (Exception, SystemExit) as error:
        log(error)


def run(what: Any = None) -> None:
    """Runs a participant, the decorated one where none is given, until no more items come.

    Ends the program. What is printed goes to the log at once, line by line.
    """
    from . import per_item, persistent

    what = _registered if what is None else what
    if what is None:
        raise RuntimeError("nothing is decorated with skynet.participant")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        is_socket = stat.S_ISSOCK(os.fstat(DESCRIPTOR).st_mode)
    except OSError:
        is_socket = False
    sys.exit((persistent if is_socket else per_item).run(what))
