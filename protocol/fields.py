"""Which fields end at the edge: hop-by-hop ones, and those that only the edge may write.

Names are given and compared in lower case. Knows nothing of heads as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from protocol.grammar import FIELD, ODD, OWS, PLAIN, TCHAR, TOKEN, VALUE

Fields = list[tuple[bytes, bytes]]

NOTHING: Final[frozenset[bytes]] = frozenset()

# RFC 9110, 7.6.1 and 11.7. HTTP2-Settings belongs to `Upgrade: h2c`, which we never pass.
HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"transfer-encoding", b"upgrade", b"http2-settings",
})  # fmt: skip
# What the edge says about a visitor. A visitor's own word is dropped, and so is the rest of the family (`X-Forwarded-*`):
# services believe X-Forwarded-Prefix and -Ssl as much as -For.
EDGE_OWNED: Final = frozenset({b"forwarded", b"x-real-ip", b"x-forwarded"})
EDGE_FAMILY: Final = b"x-forwarded-"
# What Connection may not take away: it decides where the message ends and whom it is for.
FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})

GONE: Final = dict.fromkeys(HOP_BY_HOP, b"")  # for `serialise`; to be copied
# What says something to us, as lists; of one head together at most so many bytes: a long list costs more to take apart
# than to send.
LISTS: Final = frozenset({b"connection", b"transfer-encoding", b"upgrade", b"te", b"expect"})
LISTS_CAP: Final = 1024

# The lines of a validated head that may mean something to us: LISTS, what is edge-owned, and names with odd characters.
_NOTED: Final = re.compile(
    rf"\n((?i:{'|'.join(sorted(name.decode() for name in LISTS | EDGE_OWNED))}|x-forwarded-{PLAIN}*+)"
    rf"|{PLAIN}*+{ODD}{TCHAR}*+):{OWS}({VALUE})\r".encode()
)

# Lines of a validated head that end here whatever they say, each with the line end before it.
_ENDING: Final = re.compile(
    rf"\n(?i:{'|'.join(sorted(name.decode() for name in HOP_BY_HOP | EDGE_OWNED))}|x-forwarded-{TCHAR}*+):[^\r]*+\r".encode()
)

_ODD: Final = bytes(code if chr(code).isalnum() and code < 128 else ord("-") for code in range(256))
_SHADOWED: Final = HOP_BY_HOP | EDGE_OWNED | FRAMING


def is_edge_owned(name: bytes) -> bool:
    """Whether a visitor's field of this name is dropped because the edge writes it."""
    return name in EDGE_OWNED or name.startswith(EDGE_FAMILY)


def shadows(name: bytes) -> bool:
    """Whether a service that reads `_` (or `.`, as some do) like `-` would take this name for one that is not its own.

    True only for odd spellings (`x_forwarded_for`, `content_length`), never for the name itself.
    """
    folded = name.translate(_ODD)
    return folded != name and (folded in _SHADOWED or folded.startswith(EDGE_FAMILY))


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """The members of comma-separated lists in lower case; what is no token is left out (RFC 9110, 5.6.1)."""
    members = (member.strip(b" \t").lower() for value in values for member in value.split(b","))
    return [member for member in members if TOKEN.fullmatch(member)]


def too_long(found: Mapping[bytes, list[bytes]]) -> bool:
    """Whether these values, taken apart from one head, are more than anybody means."""
    return sum(len(value) for values in found.values() for value in values) > LISTS_CAP


def protocols(values: Iterable[bytes]) -> list[bytes]:
    """The members of Upgrade fields as received, but for HTTP/2 in its clear-text forms: a body that we could not frame
    would follow on it (RFC 9110, 7.8)."""
    members = (member.strip(b" \t") for value in values for member in value.split(b","))
    return [one for one in members if one and not one.lower().startswith((b"h2", b"http/"))]


def serialise(fields: Fields, instead: Mapping[bytes, bytes], drop: frozenset[bytes]) -> bytes:
    """The lines of these fields without those in `drop`; `instead` gives by name the lines that stand in the place of the
    first field of that name, b"" for none. Names in lower case."""
    pieces: list[bytes] = []
    spent: set[bytes] = set()
    for name, value in fields:
        low = name.lower()
        if low in drop:
            continue
        other = instead.get(low)
        if other is None:
            pieces += (name, b": ", value, b"\r\n")
        elif other and low not in spent:
            spent.add(low)
            pieces.append(other)
    return b"".join(pieces)


def parse_fields(raw: bytes, start: int) -> Fields:
    """Names and values of an already validated head whose fields begin at `start`, in order and case."""
    fields: Fields = FIELD.findall(raw, start)
    if b" \r\n" in raw or b"\t\r\n" in raw:
        return [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def noted(raw: bytes, start: int) -> Fields:
    """Those of the fields that begin at `start` which may mean something to us, names in lower case: LISTS, edge-owned ones
    and odd spellings. The others are not taken apart."""
    return [(name.lower(), value.rstrip(b" \t")) for name, value in _NOTED.findall(raw, start - 1)]


def without_ending(lines: bytes) -> bytes:
    """`lines` of a validated head, from the LF before the first one on, without hop-by-hop and edge-owned fields."""
    return _ENDING.sub(b"", lines)


def without_odd(name: bytes) -> bytes:
    """The name as a lenient service would read it."""
    return name.translate(_ODD)
