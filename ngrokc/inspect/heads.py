"""Reading heads for show: tolerant where a person can still make sense of it. Pure; decides nothing about routing.

Deliberately apart from protocol.head: the edge has judged the request before; here the bytes as they are matter, so obsolete
spellings are shown, not refused. What breaks framing ends the capture (`Unreadable`).
"""

from __future__ import annotations

import re
from typing import Final

Fields = list[tuple[bytes, bytes]]

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
MAX_LENGTH_DIGITS: Final = 18

# What nearly all heads are made of. Each piece can match in one way only, so a hostile head costs linear time.
_PLAIN = re.compile(rb"(?:[!-9;-~]++:[^\r\n\x0b\x0c]*+\r\n)*\r\n")
_FIELD = re.compile(rb"([!-9;-~]++): ?+([^\r\n]*+)\r\n")


class Unreadable(Exception):
    """These bytes are not HTTP/1.x as we know it; the text says what was wrong."""


def split_head(raw: bytes) -> tuple[tuple[bytes, bytes, bytes], Fields]:
    """The three words of the start line and the fields in order and case. Raises Unreadable."""
    first, _, rest = raw.partition(b"\n")
    words = first.rstrip(b"\r").split(b" ", 2)
    if len(words) < 2:
        raise Unreadable("no start line")
    start = words[0], words[1], words[2] if len(words) > 2 else b""
    blanks = (
        b":  " in rest or b":\t" in rest or b" \r\n" in rest or b"\t\r\n" in rest
    )  # a value may have to be stripped
    if not blanks and _PLAIN.fullmatch(rest):
        return start, _FIELD.findall(rest)
    return start, split_fields(rest)


def split_fields(rest: bytes) -> Fields:
    """The slow way, for fields with a folded line, a bare LF or blanks at an end. Raises Unreadable."""
    fields: Fields = []
    for line in rest.split(b"\n"):
        line = line.rstrip(b"\r")
        if not line:
            continue
        if line[:1] in b" \t":  # a folded line belongs to the field before (RFC 9112, 5.2)
            if not fields:
                raise Unreadable("a head that begins with a folded line")
            name, value = fields[-1]
            fields[-1] = (name, value + b" " + line.strip())
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise Unreadable("a header line without a colon")
        fields.append((name, value.strip()))
    return fields


def request_start(start: tuple[bytes, bytes, bytes]) -> None:
    """Raises Unreadable unless this is the first line of a request."""
    if not start[2].startswith(b"HTTP/1.") or not start[0].isascii() or not start[1]:
        raise Unreadable("no request line")


def answer_start(start: tuple[bytes, bytes, bytes]) -> int:
    """The status of an answer. Raises Unreadable."""
    if not start[0].startswith(b"HTTP/1.") or len(start[1]) != 3 or not start[1].isdigit():
        raise Unreadable("no status line")
    return int(start[1])


def values(fields: Fields, name: bytes) -> list[bytes]:
    """All values of the (lower case) name, lists split at commas, lower case."""
    size = len(name)
    found = [value for key, value in fields if len(key) == size and key.lower() == name]
    if not found:
        return found
    return [part.strip().lower() for value in found for part in value.split(b",")]


def content_length(fields: Fields) -> int | None:
    """None where there is none. Raises Unreadable for one that is no number or contradicts itself."""
    lengths = set(values(fields, b"content-length"))
    if not lengths:
        return None
    text = lengths.pop()
    if lengths or not text.isdigit() or len(text) > MAX_LENGTH_DIGITS:
        raise Unreadable("a bad Content-Length")
    return int(text)


def request_framing(fields: Fields) -> int:
    """The length of a request's body, or CHUNKED."""
    codings = values(fields, b"transfer-encoding")
    if codings:
        if codings[-1] != b"chunked":
            raise Unreadable("a request with an unknown Transfer-Encoding")
        return CHUNKED
    return content_length(fields) or 0


def answer_framing(status: int, method: bytes, fields: Fields) -> int:
    """The length of an answer's body, CHUNKED or UNTIL_CLOSE (RFC 9112, 6.3)."""
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0
    codings = values(fields, b"transfer-encoding")
    if codings:
        return CHUNKED if codings[-1] == b"chunked" else UNTIL_CLOSE
    length = content_length(fields)
    return UNTIL_CLOSE if length is None else length
