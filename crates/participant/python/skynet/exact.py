"""JSON whose numbers come back as they went in.

A number that Python would write in another way (1.50, 1E400, -0) is kept together with its text:
it counts as the number that it is, and is written by its text. Other libraries write the number.
"""

import json
from functools import lru_cache
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, Callable, List, Optional, Union


class _LikeItsBase(type):
    """A type that equals the one it is made from.

    xmlrpc.client, yaml and others look up how to write a value in a table by its very type, and
    refuse one that the table has not, subclass or no. So it is found there, whichever of us is
    imported first, and none of them is imported for it.
    """

    def __eq__(cls, other: object) -> bool:
        return cls is other or cls.__base__ is other

    def __hash__(cls) -> int:
        return hash(cls.__base__)


class KeptFloat(float, metaclass=_LikeItsBase):
    """A float that remembers its text. What is computed with it is an ordinary one."""

    text: str

    def __new__(cls, text: str) -> "KeptFloat":
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __getnewargs__(self) -> "tuple[str]":  # type: ignore[override]
        return (self.text,)


class KeptInt(int, metaclass=_LikeItsBase):
    """The same for an integer."""

    text: str

    def __new__(cls, text: str) -> "KeptInt":
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __getnewargs__(self) -> "tuple[str]":  # type: ignore[override]
        return (self.text,)


# Whether any was made: as long as none was, the quick encoder will do.
_any_kept = False


def _float(text: str) -> float:
    value = float(text)
    return value if repr(value) == text else _keep(KeptFloat(text))


def _int(text: str) -> "Union[int, float]":
    if text == "-0":
        return _keep(KeptInt(text))
    try:
        return int(text)
    except ValueError:
        # More digits than Python is willing to convert.
        return _keep(KeptFloat(text))


def _keep(number: Any) -> Any:
    global _any_kept
    _any_kept = True
    return number


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


@lru_cache(maxsize=None)
def _reader(wrap: "Callable[[dict], Any]") -> json.JSONDecoder:
    """Returns what reads JSON; to make one for each item takes as long as to read one."""
    hook = None if wrap is dict else wrap
    return json.JSONDecoder(
        object_hook=hook, parse_float=_float, parse_int=_int, parse_constant=_constant
    )


def loads(text: "Union[str, bytes, bytearray]", wrap: "Callable[[dict], Any]" = dict) -> Any:
    """Reads JSON; each object becomes what `wrap` makes of it."""
    if isinstance(text, (bytes, bytearray)):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    return _reader(wrap).decode(text)


def dumps(value: Any) -> bytes:
    """Writes JSON as one line of UTF-8.

    What has no form in JSON is told with its place, `fields.y`. Raised anew, so that where that
    happened in here is no part of the trace.
    """
    found: Optional[Exception] = None
    try:
        return _dumps(value)
    except (TypeError, ValueError) as error:
        found = error.with_traceback(None)
    except RecursionError:
        pass
    # Not where it is caught: there it would have that as its context, and the trace of it.
    raise _told(value, found)


def _told(value: Any, found: Optional[Exception]) -> Exception:
    try:
        if found is not None:
            return _flaw(value, "", []) or found
    except RecursionError:
        pass
    return RecursionError("nested too deeply for JSON, or within itself")


def _flaw(value: Any, path: str, around: "List[int]") -> Optional[Exception]:
    """Returns what cannot be written, by its place; `around` is what it stands in."""
    at = f"{path}: " if path else ""
    if value is None or isinstance(value, (str, int, KeptFloat)):
        return None
    if isinstance(value, float):
        return None if isfinite(value) else ValueError(f"{at}{value!r} has no form in JSON")
    if id(value) in around:
        return ValueError(f"{at}stands within itself")
    around = [*around, id(value)]
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, (list, tuple)):
        members = list(enumerate(value))
    else:
        try:
            return _flaw(other(value), path, around)
        except TypeError as error:
            return TypeError(f"{at}{error}")
    for key, member in members:
        try:
            name = f"{path}.{_key(key)}" if path else _key(key)
        except TypeError as error:
            return TypeError(f"{at}{error}")
        flaw = _flaw(member, name, around)
        if flaw is not None:
            return flaw
    return None


def _dumps(value: Any) -> bytes:
    if _any_kept:
        parts: List[str] = []
        _write(value, parts.append)
        text = "".join(parts)
    else:
        text = _writer.encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair has no form in UTF-8; JSON can spell it.
        return _escape(text)


def other(value: Any) -> Any:
    """Returns the dictionary that stands behind an object which wraps one."""
    as_dict = getattr(type(value), "as_dict", None)
    if as_dict is None:
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return as_dict(value)


_writer = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=other
)


def _escape(text: str) -> bytes:
    return b"".join(
        character.encode() if not "\ud800" <= character <= "\udfff" else b"\\u%04x" % ord(character)
        for character in text
    )


def _write(value: Any, put: "Callable[[str], None]") -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif value is None or value is True or value is False:
        put({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, (KeptFloat, KeptInt)):
        put(value.text)
    elif isinstance(value, int):
        put(int.__repr__(value))
    elif isinstance(value, float):
        put(json.dumps(value, allow_nan=False))
    elif isinstance(value, dict):
        mark = "{"
        for key, member in value.items():
            put(mark)
            put(encode_basestring(_key(key)))
            put(":")
            _write(member, put)
            mark = ","
        put("}" if mark == "," else "{}")
    elif isinstance(value, (list, tuple)):
        mark = "["
        for member in value:
            put(mark)
            _write(member, put)
            mark = ","
        put("]" if mark == "," else "[]")
    else:
        _write(other(value), put)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return json.dumps(key)
    raise TypeError(f"a key of type {type(key).__name__} has no form in JSON")
