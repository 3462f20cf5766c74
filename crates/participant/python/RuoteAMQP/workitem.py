"""A work item as participants of the engine know it."""

import copy
import json
from typing import Any, Callable, Dict, Iterator, Optional, Tuple, Union

from skynet import exact


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, DictAttrProxy) else value


_Attach = Callable[[bool], Optional[Dict[str, Any]]]


class DictAttrProxy:
    """A dictionary whose entries are attributes; one that is not there reads as None.

    Dictionaries in it are wrapped when they are read as attributes; by index, in lists, and in what
    `as_dict` returns they are themselves. What is written goes into the dictionary. It is true even
    where it is empty.
    """

    # Any further name would stand in the way of an entry that is called so.
    __slots__ = ("_attach", "_d")

    def __init__(self, d: Dict[str, Any], attach: "Optional[_Attach]" = None) -> None:
        object.__setattr__(self, "_d", _plain(d))
        # Finds a dictionary that was not there, or puts one into its place once something is written.
        object.__setattr__(self, "_attach", attach)

    def as_dict(self) -> Dict[str, Any]:
        """Returns the dictionary itself."""
        return self._settle(True)

    def _settle(self, is_written: bool = False) -> Dict[str, Any]:
        if self._attach:
            # By now somebody else may have put one there.
            there = self._attach(is_written)
            if there is not None:
                object.__setattr__(self, "_d", there)
                object.__setattr__(self, "_attach", None)
        return self._d

    def __getattr__(self, name: str) -> Any:
        value = self._settle().get(name)
        return DictAttrProxy(value) if isinstance(value, dict) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self._settle(True)[name] = _plain(value)

    def __delattr__(self, name: str) -> None:
        if name not in self._settle():
            raise AttributeError(name)
        del self._d[name]

    def __getitem__(self, key: Any) -> Any:
        return self._settle()[key]

    __setitem__ = __setattr__

    def __delitem__(self, key: Any) -> None:
        del self._settle()[key]

    def __iter__(self) -> "Iterator[str]":
        return iter(self._settle())

    def __contains__(self, key: Any) -> bool:
        return key in self._settle()

    def __repr__(self) -> str:
        return repr(self._settle())

    # Copying and pickling ask for names that would all read as None.
    def __copy__(self) -> "DictAttrProxy":
        return DictAttrProxy(dict(self._settle()))

    def __deepcopy__(self, memo: Any) -> "DictAttrProxy":
        return DictAttrProxy(copy.deepcopy(self._settle(), memo))

    def __reduce__(self) -> Any:
        return (DictAttrProxy, (self._settle(),))


class FlowExpressionId:
    """Where in which process an item was sent from."""

    CHILD_SEP = "_"

    def __init__(self, h: Any) -> None:
        self._h = copy.deepcopy(h) if isinstance(h, dict) else {}

    def __getitem__(self, key: str) -> Any:
        return self._h[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowExpressionId) and self._h == other._h

    def __hash__(self) -> int:
        return hash(self.to_storage_id())

    def __repr__(self) -> str:
        return f"<fei {self.to_storage_id()}>"

    def to_h(self) -> Dict[str, Any]:
        """Returns it as a dictionary."""
        return self._h

    @property
    def engine_id(self) -> Optional[str]:
        """The engine."""
        return self._h.get("engine_id")

    @property
    def wfid(self) -> Optional[str]:
        """The process."""
        return self._h.get("wfid")

    @property
    def subid(self) -> Optional[str]:
        """The part of the process."""
        return self._h.get("subid") or self._h.get("sub_wfid")

    sub_wfid = subid

    @property
    def expid(self) -> Optional[str]:
        """The place in it: numbers, `_` between them."""
        return self._h.get("expid")

    @property
    def child_id(self) -> Optional[int]:
        """The last number of the place."""
        last = (self.expid or "").split(self.CHILD_SEP)[-1]
        return int(last) if last.isdigit() else None

    def direct_child(self, other: "FlowExpressionId") -> bool:
        """Tells whether this is a step directly within `other`."""
        ours = (self.engine_id, self.wfid, self.subid, (self.expid or "").rpartition("_")[0])
        return ours == (other.engine_id, other.wfid, other.subid, other.expid)

    def to_storage_id(self) -> str:
        """Returns the text that names it."""
        return "!".join(str(part or "") for part in (self.expid, self.subid, self.wfid))


class Workitem:
    """A work item, from its text or from a dictionary, which is then used itself.

    Two are equal that were sent from the same place.
    """

    def __init__(self, msg: "Union[str, bytes, Dict[str, Any]]") -> None:
        h = exact.loads(msg) if isinstance(msg, (str, bytes, bytearray)) else _plain(msg)
        if not isinstance(h, dict):
            raise ValueError("not a work item: an object is expected")
        self._h: Dict[str, Any] = h

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workitem) and self._h.get("fei") == other._h.get("fei")

    def __hash__(self) -> int:
        return hash(self.sid)

    def hash(self) -> int:
        """Returns its hash, which is the same for all that were sent from one place."""
        return hash(self)

    def __repr__(self) -> str:
        return f"<Workitem {self.sid}>"

    def to_h(self) -> Dict[str, Any]:
        """Returns the dictionary itself."""
        return self._h

    def dup(self) -> "Workitem":
        """Returns a copy of all of it."""
        return type(self)(copy.deepcopy(self._h))

    def dump(self) -> str:
        """Returns it as text for people."""
        try:
            return json.dumps(self._h, sort_keys=True, indent=4, default=exact.other)
        except TypeError:  # Keys of several kinds have no order.
            return json.dumps(self._h, indent=4, default=repr)

    def _at(self, path: "Tuple[str, ...]", is_written: bool) -> Optional[Dict[str, Any]]:
        """Returns the dictionary there; where something is written those on the way are made."""
        at = self._h
        for name in path:
            there = _plain(at.get(name))
            if not isinstance(there, dict):
                if not is_written:
                    return None
                there = at[name] = {}
            at = there
        return at

    def _wrapped(self, *path: str) -> DictAttrProxy:
        there = self._at(path, False)
        if there is not None:
            return DictAttrProxy(there)
        return DictAttrProxy({}, lambda is_written: self._at(path, is_written))

    @property
    def fields(self) -> DictAttrProxy:
        """The payload."""
        return self._wrapped("fields")

    @fields.setter
    def fields(self, fields: Any) -> None:
        self._h["fields"] = _plain(fields)

    @property
    def params(self) -> DictAttrProxy:
        """What the process says in the step that called."""
        return self._wrapped("fields", "params")

    @property
    def result(self) -> Any:
        """The answer that the process tests in its next `if`."""
        return self.fields["__result__"] if "__result__" in self.fields else None

    @result.setter
    def result(self, result: Any) -> None:
        self.fields["__result__"] = result

    @property
    def forget(self) -> bool:
        """Whether nobody is to be answered."""
        return bool(self.params.forget)

    @forget.setter
    def forget(self, value: bool) -> None:
        self.params.forget = bool(value)

    def lookup(self, key: str, container_lookup: bool = False) -> Any:
        """Returns the field at `a.b.c`, or None."""
        at: Any = self._at(("fields",), False)
        for part in key.split("."):
            if not isinstance(at, dict) or part not in at:
                return None
            at = _plain(at[part])
        return at

    lf = lookup

    def set_field(self, key: str, value: Any) -> None:
        """Sets the field at `a.b.c`; dictionaries on the way that are missing are made."""
        *way, last = key.split(".")
        at = self.fields.as_dict()
        for part in way:
            if at.get(part) is None:
                # What is null reads as missing everywhere else.
                at[part] = {}
            at = _plain(at[part])
        at[last] = _plain(value)

    @property
    def fei(self) -> FlowExpressionId:
        """Where it was sent from."""
        return FlowExpressionId(self._h.get("fei"))

    # Handlers reach for it by the name that it had within the older class, too.
    _fei = fei

    @property
    def sid(self) -> str:
        """The text that names it."""
        return self.fei.to_storage_id()

    @property
    def wfid(self) -> Optional[str]:
        """The process that it belongs to."""
        return self.fei.wfid

    @property
    def wf_name(self) -> Optional[str]:
        """What that process is called."""
        return self._h.get("wf_name")

    @property
    def participant_name(self) -> Optional[str]:
        """The name by which the process called."""
        return self._h.get("participant_name")

    @property
    def dispatched_at(self) -> Optional[str]:
        """When it was sent."""
        return self.fields.dispatched_at

    @property
    def timed_out(self) -> Any:
        """What the engine says of an earlier time-out."""
        return self.fields["__timed_out__"] if "__timed_out__" in self.fields else None

    @property
    def is_cancel(self) -> bool:
        """Whether it is no item but a cancel. exo never gives one of these to a participant."""
        return bool(self._h.get("cancel"))

    @property
    def error(self) -> Any:
        """What went wrong: to be set to have the process fail here, with no exception."""
        return self._h.get("error")

    @error.setter
    def error(self, error: Any) -> None:
        self._h["error"] = error

    @property
    def trace(self) -> Any:
        """Where it went wrong."""
        return self._h.get("trace")

    @trace.setter
    def trace(self, trace: Any) -> None:
        self._h["trace"] = trace
