"""A participant as a class with a method consume, and what an engine is told of its exceptions."""

import inspect
import logging
import sys
from typing import Any, List, Optional, Sequence

from skynet import run

from .launcher import send
from .workitem import Workitem

# Participants count on it that what they log is seen.
logging.basicConfig(format="%(name)s %(levelname)s: %(message)s", level=logging.INFO)


def format_exception(exc: BaseException) -> str:
    """Returns what an engine is told: `Class: text`, with the places that some kinds keep it in."""
    name = type(exc).__name__
    http = sys.modules.get("urllib.error")
    if http is not None and isinstance(exc, http.HTTPError):
        return f"HTTPError: {exc.code} {exc.filename}"
    if isinstance(exc, OSError) and exc.errno is not None and exc.strerror:
        file = f"{exc.filename} " if exc.filename is not None else ""
        return f"{name}({exc.errno}): {file}{exc.strerror}"
    # Some classes say nothing but their name as text.
    if getattr(exc, "msg", None) and not isinstance(exc, OSError):
        return f"{name}: {exc.msg}"  # type: ignore[attr-defined]
    try:
        return f"{name}: {exc}"
    except Exception:  # An author's class may have a __str__ that fails.
        return name


def format_ruby_backtrace(trace: "Sequence[Any]") -> List[str]:
    """Returns what traceback.extract_tb gave in the form of Ruby."""
    return [f"{file}:{line}: in `{name} {source}'" for file, line, name, source in trace]


def format_block(msg: Any) -> str:
    """Returns a message between two rulers, for the log."""
    ruler = "-" * 78
    return f"\n{ruler}\n{msg}\n{ruler}\n"


class Participant:
    """A participant: a subclass has a method consume, which does the work on `workitem`.

    Where consume has a parameter, it gets the item there, too.
    """

    #: The item in hand.
    workitem: Optional[Workitem] = None
    #: For messages.
    log = logging.getLogger(__name__)
    _queue: Optional[str] = None
    _host: Any = None

    def __init__(
        self,
        ruote_queue: str,
        amqp_host: str = "localhost",
        amqp_user: str = "ruote",
        amqp_pass: str = "ruote",
        amqp_vhost: str = "ruote",
        conn: Any = None,
    ) -> None:
        self._queue = ruote_queue

    def consume(self, workitem: Workitem) -> None:
        """Does the work, in a thread of its own."""

    def cancel(self, workitem: Workitem) -> None:
        """Is told, in the main thread, that the item in hand is not wanted any more."""

    def run(self) -> None:
        """Works on items until no more come."""
        from .host import Host

        if self._queue is not None:
            self.log.info("exo gives the items: no broker is used, and no queue %s", self._queue)
        self._host = Host(self)
        try:
            run(self._host)
        except SystemExit as ended:
            if ended.code:
                raise

    def finish(self) -> None:
        """Has `run` end when the item in hand is answered."""
        if self._host is not None:
            self._host.finish()

    def reply_to_engine(self, workitem: Optional[Workitem] = None) -> None:
        """Sends an item to the engine; the one in hand is answered without this."""
        item = workitem or self.workitem
        if item is None:
            raise ValueError("there is no item")
        send(item.to_h())

    def register(self, name: str, options: Any = None) -> None:
        """Says that nothing is registered from here."""
        self.log.warning("%s: not registered: a participant's queue is named to the engine "
                         "by whoever runs it", name)

    def _start(self, config: Any) -> None:
        """Gets ready."""

    def _stop(self) -> None:
        """Cleans up."""

    def _die(self) -> None:
        """Is told that the process is killed soon."""

    def _consume(self, workitem: Workitem) -> None:
        self.workitem = workitem
        if _takes_one(self.consume):
            self.consume(workitem)
        else:
            self.consume()  # type: ignore[call-arg]

    def _cancel(self, workitem: Workitem, flavour: Optional[str]) -> None:
        if _takes_one(self.cancel):
            self.cancel(workitem)
        else:
            self.cancel()  # type: ignore[call-arg]


def _takes_one(method: Any) -> bool:
    try:
        inspect.signature(method).bind(None)
    except TypeError:
        return False
    return True
