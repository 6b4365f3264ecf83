"""Changes to the fields of heads: add, set, remove; from untrusted options to bytes that are safe to write.

An agent's user may say what it likes about its own service's headers, but never where a message ends, whom it is for, or
what the edge says about a visitor; and no value brings a line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.errors import Blame, Fault
from protocol.fields import FRAMING, HOP_BY_HOP, is_edge_owned, shadows
from protocol.grammar import TOKEN

EDITS_MAX: Final = 64  # of one direction: more is a program, not an option
VALUE_CAP: Final = 8192  # bytes; what servers commonly take for a whole line
BYTES_CAP: Final = 16 * 1024  # of all that one direction adds: a quarter of the cap of a head

_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_ALWAYS: Final = FRAMING | HOP_BY_HOP | {b"trailer", b"ngrok-error-code"}


@dataclass(frozen=True, slots=True)
class Edits:
    """Compiled: fields named in `drop` (lower case) go, then the lines of `added` come. `set` is both."""

    drop: frozenset[bytes] = frozenset()
    added: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.drop or self.added)


def compile_edits(option: str, value: object) -> Edits:
    """From `{"add": {name: value}, "set": {...}, "remove": [name]}`, where a value may be a list of several.

    Raises Fault("bad_option") that names the option and what is wrong.
    """
    if not isinstance(value, Mapping) or not set(value) <= {"add", "set", "remove"}:
        raise bad_option(option, "must have add, set and remove only")
    drop, lines = set[bytes](), list[bytes]()
    for name in _names(option, value.get("remove", ())):
        drop.add(name.lower())
    for verb in ("set", "add"):
        for name, text in _pairs(option, value.get(verb, {})):
            lines.append(b"%b: %b\r\n" % (name, text))
            if verb == "set":
                drop.add(name.lower())
    added = b"".join(lines)
    if len(drop) > EDITS_MAX or len(lines) > EDITS_MAX or len(added) > BYTES_CAP:
        raise bad_option(option, f"is too much: at most {EDITS_MAX} changes and {BYTES_CAP // 1024} KiB")
    return Edits(frozenset(drop), added)


def bad_option(option: str, wrong: str) -> Fault:
    """A Fault for the agent's user; `wrong` repeats nothing unescaped."""
    return Fault("bad_option", f"option {option}: {wrong}", blame=Blame.AGENT)


def shown(value: object) -> str:
    """Somebody's value in a message: short, printable, on one line."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _names(option: str, value: object) -> Iterator[bytes]:
    if not isinstance(value, list | tuple):
        raise bad_option(option, "remove must be a list of names")
    for name in value:
        yield _name(option, name)


def _pairs(option: str, value: object) -> Iterator[tuple[bytes, bytes]]:
    if not isinstance(value, Mapping):
        raise bad_option(option, "add and set must give a value for each name")
    for name, given in value.items():
        for one in given if isinstance(given, list | tuple) else (given,):
            yield _name(option, name), _text(option, one)


def _name(option: str, name: object) -> bytes:
    raw = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
    if not TOKEN.fullmatch(raw) or len(raw) > 256:
        raise bad_option(option, f"{shown(name)} is not a header name")
    low = raw.lower()
    if low in _ALWAYS or is_edge_owned(low) or shadows(low):
        raise bad_option(
            option, f"{shown(name)} is not yours to change" + (": use host_header" if low == b"host" else "")
        )
    return raw


def _text(option: str, value: object) -> bytes:
    try:
        raw = value.encode("utf-8") if isinstance(value, str) else None
    except UnicodeEncodeError:
        raw = None
    if raw is None or not _VALUE.fullmatch(raw) or len(raw) > VALUE_CAP:
        raise bad_option(option, f"{shown(value)} is not a header value")
    return raw
