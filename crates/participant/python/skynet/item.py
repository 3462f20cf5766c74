"""A work item."""

import os
from typing import Any, Optional, Union

from . import exact
from .faults import Cancelled, Final, say


class Fields(dict):
    """A dictionary whose entries are attributes, too; one that is not there reads as None.

    Entries with the names of a dictionary's methods (`items`, `get`, ...) and those between double
    underscores are reached by index alone.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        value = self.get(name)
        if type(value) is dict:
            value = self[name] = Fields(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(dict, name):
            raise AttributeError(f"an entry called {name} is set by index")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


class Unset(Fields):
    """What is read where no object is: it is put into that place when something is written into it.

    From then on it is an ordinary one. A look alone must not change an item.
    """

    def __init__(self, of: Fields, name: str) -> None:
        super().__init__()
        # Between underscores, so that each other name can be an entry.
        object.__setattr__(self, "__place__", (of, name))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        _settle(self)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        value = super().setdefault(key, default)
        _settle(self)
        return value

    def update(self, *args: Any, **more: Any) -> None:
        super().update(*args, **more)
        _settle(self)

    def __ior__(self, other: Any) -> "Fields":  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return (Fields, ())


def _settle(fields: Unset) -> None:
    if not fields or type(fields) is not Unset:
        return
    of, name = fields.__place__  # type: ignore[attr-defined]
    object.__delattr__(fields, "__place__")
    object.__setattr__(fields, "__class__", Fields)
    # What somebody else has put there meanwhile stays.
    if of.get(name) is None:
        of[name] = fields


def share(done: Any) -> Optional[float]:
    """Returns a number from 0 to 1; what is none counts as nothing said."""
    try:
        done = float(done)
    except (TypeError, ValueError):
        return None
    return min(max(done, 0.0), 1.0) if done == done else None


def words(text: Any) -> Optional[str]:
    """Returns a text."""
    return None if text is None else str(text)


class Channel:
    """What an item can say during the work where only its answer counts: to the log."""

    def progress(self, item: "Item") -> None:
        say(f"progress: {item.done or 0} {item.text or ''}".rstrip())

    def stage(self, item: "Item") -> None:
        say(f"stage: {item.stage or ''}".rstrip())

    def forward(self, queue: str, item: bytes) -> Optional[int]:
        raise Final("a further item can be sent in persistent mode only")


#: Says what is said of no item.
_process = Channel()


def speak_by(channel: Channel) -> None:
    """Has this process send by that channel what it sends without an item."""
    global _process
    _process = channel


# As exo said it at the start.
_engine: Optional[str] = None


def set_engine(queue: Optional[str]) -> None:
    """Notes which queue is the engine's."""
    global _engine
    _engine = queue


def engine() -> str:
    """Returns the queue on which the engine hears of everything: an item that was kept is forwarded
    there, or the launch of a process."""
    return _engine or os.environ.get("SKYNET_ENGINE") or "ruote_workitems"


def forward(queue: str, item: "Union[Item, dict]") -> Optional[int]:
    """Sends a further item to a queue, as Item.forward does, in persistent mode by any thread and
    at any time, in `cancel` and `status` too. Only the handler of a signal is refused between two
    items: nobody would hear what became of it."""
    return _process.forward(queue, exact.dumps(item.data if isinstance(item, Item) else item))


class Item:
    """A work item: a JSON object with an object `fields` in it.

    What is not changed comes back as it was, numbers digit by digit. For tests an item can be made
    from a dictionary or from JSON.
    """

    #: The whole item.
    data: Fields
    #: Number of the attempt, from 1.
    attempt: int
    #: How far an earlier attempt came, in the words of `set_stage`; None = nothing was said.
    stage: Optional[str]
    #: Why the item is not wanted any more: "cancel", "kill" or "timeout"; None = it is wanted.
    #: Set by another thread while the work runs. Also "kill": the process is about to be killed.
    cancelled: Optional[str]

    def __init__(
        self,
        data: "Union[dict, str, bytes, None]" = None,
        *,
        attempt: int = 1,
        stage: Optional[str] = None,
        channel: Optional[Channel] = None,
    ) -> None:
        if isinstance(data, (str, bytes)):
            data = exact.loads(data, Fields)
        elif data is None:
            data = {}
        if not isinstance(data, dict):
            raise ValueError("not a work item: an object is expected")
        self.data = data if isinstance(data, Fields) else Fields(data)
        self.attempt = attempt
        self.stage = stage
        self.cancelled = None
        self.done: Optional[float] = None
        self.text: Optional[str] = None
        self._channel = channel or Channel()
        self._unset: "dict[str, Unset]" = {}
        # Names it in all that is said of it.
        self._id = 0

    def __repr__(self) -> str:
        return f"<skynet.Item {self.wfid or 'without wfid'}, attempt {self.attempt}>"

    def json(self) -> bytes:
        """Returns it as JSON, one line."""
        return exact.dumps(self.data)

    def _object(self, of: Fields, name: str) -> Fields:
        value = of.get(name)
        if value is None:
            value = self._unset.get(name)
            # Whoever reads twice has the same both times.
            if type(value) is not Unset or value.__place__[0] is not of:
                value = self._unset[name] = Unset(of, name)
        elif not isinstance(value, dict):
            raise ValueError(f"{name} is no object")
        elif not isinstance(value, Fields):
            value = of[name] = Fields(value)
        return value

    @property
    def fields(self) -> Fields:
        """The payload."""
        return self._object(self.data, "fields")

    @property
    def params(self) -> Fields:
        """What the process says in the step that called."""
        return self._object(self.fields, "params")

    @property
    def fei(self) -> Fields:
        """Where in which process the item was sent from."""
        return self._object(self.data, "fei")

    @property
    def wfid(self) -> Optional[str]:
        """Id of the process that the item belongs to."""
        fei = self.data.get("fei")
        return fei.get("wfid") if isinstance(fei, dict) else None

    @property
    def participant_name(self) -> Optional[str]:
        """Name by which the process called."""
        return self.data.get("participant_name")

    @property
    def result(self) -> Any:
        """The answer that the process tests in its next `if`."""
        return self.fields.get("__result__")

    @result.setter
    def result(self, value: Any) -> None:
        self.fields["__result__"] = value

    @property
    def forget(self) -> bool:
        """Whether nobody is to be answered. To be set to keep the item: somebody answers later."""
        fields = self.data.get("fields")
        params = fields.get("params") if isinstance(fields, dict) else None
        return bool(params.get("forget")) if isinstance(params, dict) else False

    @forget.setter
    def forget(self, value: bool) -> None:
        self.params["forget"] = bool(value)

    def lookup(self, path: str, default: Any = None) -> Any:
        """Returns the field at `a.b.c`, or `default` where the way there ends before."""
        value: Any = self.fields
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    def set_field(self, path: str, value: Any) -> None:
        """Sets the field at `a.b.c`; objects on the way that are missing are made."""
        *way, last = path.split(".")
        at = self.fields
        for key in way:
            at = self._object(at, key)
        at[last] = value

    def check(self) -> None:
        """Raises Cancelled where the item is not wanted any more; to be called during long work."""
        if self.cancelled:
            raise Cancelled(self.cancelled)

    def progress(self, done: Optional[float] = None, text: Optional[str] = None) -> None:
        """Says how far the work is, `done` from 0 to 1. In per-item mode it goes to the log."""
        self.done = share(done)
        self.text = words(text)
        self._channel.progress(self)

    def set_stage(self, stage: Optional[str]) -> None:
        """Says how far the work has come, for the next attempt should this one be lost: it finds
        it in `stage`. None forgets. In per-item mode it goes to the log alone."""
        self.stage = words(stage)
        self._channel.stage(self)

    def forward(self, queue: str, item: "Union[Item, dict]") -> Optional[int]:
        """Sends a further item to a queue and returns the job that it is, once it is safe there:
        None where RabbitMQ has it.

        Raises Refused where it is not taken, and Final in per-item mode.
        """
        whole = item.data if isinstance(item, Item) else item
        return self._channel.forward(queue, exact.dumps(whole))
