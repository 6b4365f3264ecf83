"""A private service's response head: untrusted, so read as strictly as a visitor's request (D-L1).

RFC 9112 and 9110, narrowed as `docs/http.md` says. Whatever is wrong with it is the upstream's fault: 502.
Knows nothing of tunnels or where the bytes come from.
"""

from __future__ import annotations

import re
from typing import Final, Self

from protocol.body import CHUNKED, NO_BODY, UNTIL_CLOSE, Body, body_of
from protocol.errors import Blame, HttpError
from protocol.fields import (
    FRAMING,
    GONE,
    LISTS,
    noted,
    protocols,
    serialise,
    tokens,
    too_long,
)
from protocol.grammar import HEAD_CAP, LINE_CAP, STATUS_LINE, TCHAR, VALUE, content_length, head_pattern
from protocol.head_base import Head

_HEAD: Final = head_pattern(
    STATUS_LINE,
    once={
        "content-length": rf"([0-9]*+)({VALUE})",
        "transfer-encoding": rf"({VALUE})()",
    },
    often=("connection", "keep-alive"),
    rare=("te:", "upgrade:", "proxy-", "http2-settings:"),
    name=TCHAR,
)
_FRAMED, _CONNECTION, _KEEP_ALIVE = 6, 9, 11  # groups of values
_WISHES: Final = {b"keep-alive": True, b"close": False}
_CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"


class ResponseHead(Head):
    """One response, interim (1xx) or final. Made by `parse_response`; read-only by agreement.

    `status`, `reason` (may be empty), `minor` 0 or 1, `length` of the body: >= 0, CHUNKED or UNTIL_CLOSE, and 0 whatever
    the fields say where there is none (HEAD, 1xx, 204, 304); `keep_alive`: whether the service would take another
    request on this connection, `upgrade`: the protocols of a 101 in lower case.
    """

    __slots__ = (
        *("_bodyless", "_cuts", "_instead"),
        *("keep_alive", "length", "minor", "reason", "status", "upgrade"),
    )

    def __init__(self, raw: bytes, match: re.Match[bytes], *, bodyless: bool) -> None:
        """From a match of the whole of `raw`. `bodyless`: it answers a HEAD. Raises HttpError 502."""
        minor, status, reason, digits, padding, coding, _, again, connection, twice, alive, rare = match.groups()
        super().__init__(raw, match.end(3 if reason is not None else 2) + 2)
        self._bodyless = bodyless
        self._instead: dict[bytes, bytes] | None = None
        self._cuts: list[tuple[int, int]] = []
        self.status = number = int(status)
        self.reason: bytes = reason or b""
        self.minor = 1 if minor == b"1" else 0
        self.upgrade: bytes | None = None
        self.keep_alive = self.minor == 1
        self.length = self._framing(digits, padding, coding)
        unframed = number < 200 or number == 204
        if bodyless or unframed or number == 304:
            self.length = 0
        wish = True if connection is None else _WISHES.get(connection.rstrip(b" \t").lower())
        odd_framing = (coding is not None and coding != b"chunked") or (
            unframed and (coding is not None or digits is not None)
        )
        if rare is not None or again is not None or twice is not None or wish is None or odd_framing or number == 101:
            self._look_closer()
        else:
            if connection is not None:
                self.keep_alive = wish
                self._cut(match, _CONNECTION)
            if alive is not None:
                self._cut(match, _KEEP_ALIVE)
        if self.length == UNTIL_CLOSE:
            self.keep_alive = False

    def _framing(self, digits: bytes | None, padding: bytes | None, coding: bytes | None) -> int:
        if coding is not None:
            if digits is not None or self.minor == 0 or coding.rstrip(b" \t").lower() != b"chunked":
                raise bad("ambiguous framing")
            return CHUNKED
        return UNTIL_CLOSE if digits is None else content_length(digits, padding or b"")

    def _cut(self, match: re.Match[bytes], group: int) -> None:
        begin, end = match.span(group)
        self._cuts.append((self._raw.rfind(b"\n", 0, begin) + 1, end + 2))

    def _look_closer(self) -> None:
        found: dict[bytes, list[bytes]] = {}
        for name, value in noted(self._raw, self._start):
            if name in LISTS:
                found.setdefault(name, []).append(value)
        if too_long(found):
            raise bad("hop-by-hop fields too long")
        options = tokens(found.get(b"connection", ()))
        instead = GONE.copy()
        instead.update((option, b"") for option in options if option not in FRAMING)
        self.keep_alive = b"close" not in options and (self.minor == 1 or b"keep-alive" in options)
        if self.status >= 200 and self.status != 204:
            instead[b"transfer-encoding"] = _CHUNKED_LINE
        else:  # RFC 9112, 6.1 and RFC 9110, 8.6: neither in a 1xx nor in a 204, where it could pass for a body's
            instead[b"content-length"] = b""
        if self.status in (101, 426):  # RFC 9110, 15.5.22: a 426 says which protocols it wants
            chosen = b", ".join(protocols(found.get(b"upgrade", ())))
            if self.status == 101:
                if not chosen or b"upgrade" not in options or self.minor == 0:
                    raise bad("a 101 that names no protocol")
                self.upgrade = chosen.lower()
            if chosen:
                instead[b"upgrade"] = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % chosen
        self._instead = instead

    def body(self) -> Body:
        """A new scanner for the body that follows this head."""
        return body_of(self.length, upstream=True) if self.length else NO_BODY

    def _forward(self, added: bytes, drop: frozenset[bytes]) -> bytes:
        """The head for the visitor, as HTTP/1.1: everything but hop-by-hop fields (also those that Connection lists) and
        those named in `drop` (lower case); then `added`, whole lines, where the edge says keep-alive or close."""
        raw = self._raw
        line = b"HTTP/1.1" + raw[8 : self._start]
        if self._instead is not None or drop:
            instead = self._instead if self._instead is not None else _USUAL
            return line + serialise(self.fields, instead, drop) + added + b"\r\n"
        at = self._start
        parts = [line]
        for begin, end in sorted(self._cuts):
            parts.append(raw[at:begin])
            at = end
        parts += (raw[at:-2], added, b"\r\n")
        return b"".join(parts)

    def _again(self) -> Self:
        match = _HEAD.fullmatch(self._raw)
        assert match is not None
        return type(self)(self._raw, match, bodyless=self._bodyless)


_USUAL: Final = GONE | {b"transfer-encoding": _CHUNKED_LINE}


def parse_response(raw: bytes, *, method: bytes, upgrade: bytes | None = None) -> ResponseHead:
    """The response head in `raw`, which is all of it and nothing else, the empty line included (see `head_end`).

    `method` and `upgrade` are those of the request it answers: a 101 that was not asked for, or for another protocol, is
    refused. Raises HttpError 502 upstream_bad_response: the upstream connection must not be used again.
    """
    match = _HEAD.fullmatch(raw)
    if match is None or raw[0] == 0x0D or len(raw) > HEAD_CAP or raw.find(b"\r\n") > LINE_CAP:
        raise bad("malformed response head")
    try:
        head = ResponseHead(raw, match, bodyless=method == b"HEAD")
    except HttpError as error:
        raise bad(error.message) from error
    if head.status == 101 and not _was_offered(head.upgrade, upgrade):
        raise bad("a 101 that nobody asked for")
    return head


def _was_offered(chosen: bytes | None, offered: bytes | None) -> bool:
    return chosen is not None and offered is not None and set(tokens_of(chosen)) <= set(tokens_of(offered))


def tokens_of(protocol_list: bytes) -> list[bytes]:
    """The members of a normalised list of protocols, such as `websocket` or `foo/2`."""
    return protocol_list.split(b", ")


def bad(message: str) -> HttpError:
    """502, with a sentence for the owner's log."""
    return HttpError(502, "upstream_bad_response", message, blame=Blame.UPSTREAM)
