"""Dataclasses to JSON envelopes and back, by the rules of 1.7 (Go's encoding/json). See `messages` for the classes.

How a field looks on the wire follows from its annotation, so this module knows no message by name. It sits on the path
of every visitor (StartProxy): decoding and encoding cost a few microseconds, most of it the JSON parser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from protocol.errors import WireError
from protocol.strict_json import as_go_writes, dump, parse_object, quote

M = TypeVar("M")
Check = Callable[[object], object]

MAX_COUNT = 2**31 - 1
_ENVELOPE_KEYS: Final[Mapping[str, str]] = {"type": "Type", "payload": "Payload"}
_NOT_PLAIN = type("NotPlain", (), {})  # no value has this type, so such a field always goes through its check


def _wrong(expected: str) -> WireError:
    return WireError("bad_message", f"a field of the message is not {expected}")


def _text(value: object) -> str:
    if type(value) is not str:
        raise _wrong("a string")
    return value


def _boolean(value: object) -> bool:
    if type(value) is not bool:
        raise _wrong("true or false")
    return value


def _words(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise _wrong("a list of strings")
    return tuple(_text(word) for word in value)


def _object(value: object) -> dict[str, object]:
    if type(value) is not dict:
        raise _wrong("an object")
    return value


def _integer(limit: int) -> Check:
    def check(value: object) -> int:
        # bool is an int to Python; 1.0 and 1e2 are floats, which Go refuses here too
        if type(value) is not int or not 0 <= value <= limit:
            raise _wrong("a whole number in its range")
        return value

    return check


_CHECKS: Final[Mapping[str, Check]] = {
    "str": _text,
    "str | None": _text,
    "bool | None": _boolean,
    "tuple[str, ...] | None": _words,
    "Mapping[str, object] | None": _object,
}


class _Shape:
    """How one dataclass looks on the wire. `by_key` and `folded` give (attribute, type that needs no check, check)."""

    def __init__(self, cls: type[Any], checks: Mapping[str, Check], limits: Mapping[str, int]) -> None:
        entries = fields(cls)
        names = [entry.name for entry in entries]
        self.cls = cls
        self.keys = [wire_key(name) for name in names]
        self.values = _reader(names)
        self.prefixes = [f'"{key}":' for key in self.keys]
        self.opening = f'{{"Type":"{cls.__name__}","Payload":{{'
        self.by_key: dict[str, tuple[str, type, Check]] = {}
        for entry, key in zip(entries, self.keys, strict=True):
            kind = str(entry.type)
            check = _integer(limits.get(key, MAX_COUNT)) if kind == "int" else checks[kind]
            self.by_key[key] = (entry.name, str if check is _text else _NOT_PLAIN, check)
        self.folded = {key.casefold(): found for key, found in self.by_key.items()}
        # A missing key is Go's zero value, also where our own default says something (Version "2").
        self.blank = {entry.name: "" for entry in entries if entry.type == "str" and entry.default}

    def arguments(self, payload: Mapping[str, object]) -> dict[str, Any]:
        """Constructor arguments from a JSON object. Raises WireError for values of the wrong type or range."""
        found: dict[str, Any] = self.blank.copy()
        for key, value in payload.items():
            entry = self.by_key.get(key) or self.folded.get(key.casefold())
            if entry is None or value is None:
                continue  # unknown keys are ignored; null leaves what stood there, as in Go
            attribute, plain, check = entry
            found[attribute] = value if type(value) is plain else check(value)
        return found


def _reader(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda part: tuple(getattr(part, name) for name in names)  # attrgetter gives a tuple only for two and more


def wire_key(attribute: str) -> str:
    """The JSON key of an attribute: `client_id` is `ClientId`, and `os` is `OS`."""
    return "OS" if attribute == "os" else attribute.title().replace("_", "")


class Codec(Generic[M]):
    """Encodes and decodes a closed set of dataclasses. `parts` are dataclasses that may stand in optional fields;
    `limits` gives the largest value of integer keys that have one of their own. Immutable after construction."""

    def __init__(
        self, classes: tuple[type[M], ...], *, parts: tuple[type[Any], ...], limits: Mapping[str, int]
    ) -> None:
        checks = dict(_CHECKS)
        self._parts: dict[type[Any], _Shape] = {}
        for part in parts:
            shape = self._parts[part] = _Shape(part, checks, limits)
            checks[f"{part.__name__} | None"] = _part_check(shape)
        self._by_class: dict[type[Any], _Shape] = {cls: _Shape(cls, checks, limits) for cls in classes}
        self._by_name = {cls.__name__: shape for cls, shape in self._by_class.items()}

    def decode(self, body: bytes) -> M:
        """One envelope. Raises WireError, and nothing else, for any bytes."""
        envelope = parse_object(body)
        if len(envelope) != 2 or "Type" not in envelope or "Payload" not in envelope:
            envelope = _exact_envelope(envelope)
        name = envelope["Type"]
        if type(name) is not str:
            raise WireError("bad_message", "the type of the message is not a string")
        shape = self._by_name.get(name)
        if shape is None:
            raise WireError("unknown_type", "the type of the message is unknown")
        payload = envelope["Payload"]
        if payload is None:
            payload = {}  # 1.7 takes it as an empty message or ignores it; no empty message can do harm
        elif type(payload) is not dict:
            raise WireError("bad_message", "the payload of the message is not an object")
        message: M = shape.cls(**shape.arguments(payload))
        return message

    def encode(self, message: M) -> bytes:
        """One envelope. KeyError for a class that is not of the set."""
        shape = self._by_class[type(message)]
        written = []
        for prefix, value in zip(shape.prefixes, shape.values(message), strict=True):
            if type(value) is str:
                written.append(prefix + quote(value))
            elif value is not None:
                written.append(prefix + self._dump(value))
        return as_go_writes(shape.opening + ",".join(written) + "}}")

    def _dump(self, value: object) -> str:
        shape = self._parts.get(type(value))
        if shape is not None:
            value = dict(zip(shape.keys, shape.values(value), strict=True))
        return dump(value)


def _part_check(shape: _Shape) -> Check:
    def check(value: object) -> object:
        return shape.cls(**shape.arguments(_object(value)))

    return check


def _exact_envelope(envelope: Mapping[str, object]) -> dict[str, object]:
    """The envelope with its two keys spelled as we spell them; others are dropped. Raises WireError when one is missing."""
    found: dict[str, object] = {}
    for key, value in envelope.items():
        exact = _ENVELOPE_KEYS.get(key.casefold())
        if exact is not None:
            found[exact] = value
    if len(found) != len(_ENVELOPE_KEYS):
        raise WireError("bad_message", "the message lacks its type or its payload")
    return found
