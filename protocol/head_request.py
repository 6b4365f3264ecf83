"""A visitor's request head: parsed once, strictly; routing, authorisation, framing and what is sent on follow from it.

RFC 9112 (message syntax) and RFC 9110 (fields), narrowed as `docs/http.md` says. The usual head costs one match of one
pattern; heads with hop-by-hop or edge-owned fields take the longer way over the list of their fields.
Knows nothing of tunnels, policies or where the bytes come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self

from protocol.authority import host_of, name_of, port_of
from protocol.body import CHUNKED, Body, body_of
from protocol.errors import HttpError
from protocol.fields import (
    FRAMING,
    GONE,
    LISTS,
    is_edge_owned,
    noted,
    protocols,
    serialise,
    shadows,
    tokens,
    too_long,
    without_ending,
)
from protocol.grammar import (
    HEAD_CAP,
    HOST_TEXT,
    LINE_CAP,
    PLAIN,
    REQUEST_LINE,
    VALUE,
    complaint,
    content_length,
    head_pattern,
)
from protocol.head_base import Head

_HEAD: Final = head_pattern(
    REQUEST_LINE,
    once={
        "host": rf"({HOST_TEXT})({VALUE})",
        "content-length": rf"([0-9]*+)({VALUE})",
        "authorization": rf"({VALUE})()",
    },
    often=("connection",),
    rare=(
        *("transfer-encoding:", "te:", "upgrade:", "expect:", "keep-alive:", "proxy-", "http2-settings:"),
        *("forwarded:", "x-forwarded", "x-real-ip:"),
    ),
    name=PLAIN,
)
_CONNECTION: Final = 11  # the group of its value
_HOST: Final = frozenset({b"host"})
_HOST_LINE: Final = re.compile(rb"\n(?i:host):[^\r]*+\r")
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE"})
_ABSOLUTE: Final = re.compile(rb"(?i:http(s)?)://([^/?]*+)(.*)", re.DOTALL)
_NO_OPTION: Final = frozenset(
    {b"keep-alive", b"close", b"te", b"upgrade"}
)  # of Connection: name no field but hop-by-hop ones
_KEEP_ALIVE: Final = {b"keep-alive": True, b"close": False}  # the values of Connection that say no more than this


class RequestHead(Head):
    """One request, as everybody after this sees it. Made by `parse_request`; read-only by agreement.

    `method` and `target` as received (absolute-form is reduced to origin-form), `minor` 0 or 1, `host` normalised ("" if
    a HTTP/1.0 visitor gave none), `authority` the same as received, port included, `length` of the body (CHUNKED or >= 0),
    `keep_alive`: whether the visitor wants another exchange on this connection, `upgrade`: the protocols asked for, lower
    case, never h2c, `expect_continue`: the visitor may wait for a 100 before it sends the body, `authorization`: the value
    of that field, of which there is at most one.
    """

    __slots__ = (
        *("_cut", "_ending", "_instead", "_line"),
        *("authority", "authorization", "expect_continue"),
        *("host", "keep_alive", "length", "method", "minor", "target", "upgrade"),
    )

    def __init__(self, raw: bytes, match: re.Match[bytes]) -> None:
        """From a match of the whole of `raw`. Raises HttpError for what the pattern does not see."""
        login: bytes | None
        method, target, minor, host, rest, digits, padding, login, _, again, connection, rare = match.groups()
        start = match.end(3) + 2  # where the fields begin
        super().__init__(raw, start)
        self._line: bytes | None = None  # the request line to send, when it isn't the one received
        self._cut = (start, start)  # the Connection line
        self._ending = False  # cutting hop-by-hop and edge-owned lines is all
        self._instead: Mapping[bytes, bytes] | None = None  # name -> lines; None when cutting that line is all
        self.method: bytes = method
        self.target: bytes = target
        self.minor = minor = 1 if minor == b"1" else 0
        self.authority: bytes = (host + rest).rstrip(b" \t") if rest else host or b""
        self.host = _host(host, rest, minor)
        self.length = 0 if digits is None else content_length(digits, padding)
        self.authorization: bytes | None = login if login is None else login.rstrip(b" \t")
        self.keep_alive = minor == 1
        self.upgrade: bytes | None = None
        self.expect_continue = False
        if target[0] != 0x2F or not target.isascii() or method in _REFUSED_METHODS or raw[0] == 0x0D:
            self._odd_line()
        if connection is not None and (rare is None and again is None):
            wish = _KEEP_ALIVE.get(connection.rstrip(b" \t").lower())
            if wish is None:
                rare = connection
            else:
                self.keep_alive = wish
                value = match.start(_CONNECTION)
                self._cut = (raw.rfind(b"\n", 0, value) + 1, value + len(connection) + 2)
        if rare is not None or again is not None:
            self._look_closer(has_length=digits is not None)

    # -- the longer ways of parsing
    def _odd_line(self) -> None:
        """Everything but a usual method with an ASCII origin-form, first in the head (RFC 9112, 3.2)."""
        target = self.target
        if self.method in _REFUSED_METHODS:
            raise HttpError(501, "not_implemented", "CONNECT and TRACE are not served")
        if not target.isascii():
            _check_utf8(target)
        if target[0] != 0x2F and not (target == b"*" and self.method == b"OPTIONS"):
            self._absolute(target)
        self._line = b"%b %b HTTP/1.%d\r\n" % (self.method, self.target, self.minor)

    def _absolute(self, target: bytes) -> None:
        match = _ABSOLUTE.fullmatch(target)
        if match is None:
            raise bad("malformed target")
        secure, authority, rest = match.groups()
        host = host_of(authority)
        port = 80 if secure is None else 443
        if host is None or (
            self.host and (host, port_of(authority, port)) != (self.host, port_of(self.authority, port))
        ):
            raise bad("the target contradicts Host")
        if not self.host:  # HTTP/1.0 without the field: the service gets one
            self._fields = [(b"Host", authority), *self.fields]
            self._instead = _CONNECTION_GOES
            self.host, self.authority = host, authority
        if not rest and self.method == b"OPTIONS":
            self.target = b"*"  # RFC 9112, 3.2.4: of the server, not of its root
        else:
            self.target = rest if rest[:1] == b"/" else b"/" + rest

    def _look_closer(self, *, has_length: bool) -> None:
        """All that hop-by-hop and edge-owned fields say."""
        found: dict[bytes, list[bytes]] = {}
        instead = GONE.copy()
        for name, value in noted(self._raw, self._start):
            if name in LISTS:
                found.setdefault(name, []).append(value)
            elif is_edge_owned(name):
                instead[name] = b""
            elif shadows(name):
                raise bad("a field name that shadows one of ours")
        self._ending, self._instead = True, instead
        if found:  # else it is what a proxy before us says, and nothing more: 2 of 9 us less
            self._obey(found, instead, has_length=has_length)

    def _obey(self, found: dict[bytes, list[bytes]], instead: dict[bytes, bytes], *, has_length: bool) -> None:
        """What LISTS say; `instead` gets what follows from it."""
        if too_long(found):
            raise bad("hop-by-hop fields too long")
        options = tokens(found.get(b"connection", ()))
        instead.update((option, b"") for option in options if option not in FRAMING)
        self.keep_alive = b"close" not in options and (self.minor == 1 or b"keep-alive" in options)
        if b"transfer-encoding" in found:
            codings = [value.lower() for value in found[b"transfer-encoding"]]
            if has_length or self.minor == 0 or codings != [b"chunked"]:
                raise bad("ambiguous framing")
            self.length = CHUNKED
            instead[b"transfer-encoding"] = b"Transfer-Encoding: chunked\r\n"
        if b"upgrade" in options and self.minor:
            wanted = b", ".join(protocols(found.get(b"upgrade", ())))
            if wanted:
                self.upgrade = wanted.lower()
                instead[b"upgrade"] = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % wanted
        if b"trailers" in tokens(found.get(b"te", ())):
            instead[b"te"] = b"TE: trailers\r\n"  # true of us: trailers are passed on. gRPC wants to hear it
        expected = [value.lower() for value in found.get(b"expect", ())]
        if expected and expected != [b"100-continue"]:
            raise HttpError(417, "expectation_failed", "an Expect that is not one 100-continue")
        self.expect_continue = bool(expected) and self.minor == 1 and self.length != 0
        self._ending = not any(instead.values()) and _NO_OPTION.issuperset(options)

    # -- what it gives
    def body(self) -> Body:
        """A new scanner for the body that follows this head."""
        return body_of(self.length)

    def _forward(self, added: bytes, drop: frozenset[bytes]) -> bytes:
        """The head for the agent, in its own HTTP version: everything but hop-by-hop fields (also those that Connection
        lists), edge-owned fields and those named in `drop` (lower case); then `added`, whole lines.

        There is exactly one Host in it, unless `drop` takes it: then it has to be in `added`.
        """
        raw = self._raw
        line = self._line
        if self._instead is None and not drop:
            begin, end = self._cut
            head = raw[:begin] if line is None else line + raw[self._start : begin]
            head += raw[end:-2]
        elif self._ending and line is None and not drop:
            head = raw[: self._start - 1] + without_ending(raw[self._start - 1 : -2])
        elif self._instead is None and line is None and drop == _HOST:
            return self._without_host() + added + b"\r\n"
        else:
            instead = self._instead if self._instead is not None else _CONNECTION_GOES
            head = (raw[: self._start] if line is None else line) + serialise(self.fields, instead, drop)
        return head + added + b"\r\n"

    def _without_host(self) -> bytes:
        """For host_header, the option that most tunnels to development servers have: two cuts instead of a new head."""
        raw = self._raw
        match = _HOST_LINE.search(raw)
        if match is None:
            return raw[: self._cut[0]] + raw[self._cut[1] : -2]
        (begin, end), (then, last) = sorted((self._cut, (match.start() + 1, match.end() + 1)))
        return raw[:begin] + raw[end:then] + raw[last:-2]

    def _again(self) -> Self:
        match = _HEAD.fullmatch(self._raw)
        assert match is not None
        return type(self)(self._raw, match)


_CONNECTION_GOES: Final = {b"connection": b""}


def parse_request(raw: bytes) -> RequestHead:
    """The head in `raw`, which is all of it and nothing else, the empty line included (see `head_end`).

    One CRLF before it is skipped (RFC 9112, 2.2). Raises HttpError: 400 bad_request, 414 uri_too_long, 431
    head_too_large, 417 expectation_failed, 501 not_implemented; the connection is to be closed after any of them.
    """
    match = _HEAD.fullmatch(raw)
    if match is None or len(raw) > HEAD_CAP or match.end(3) - match.start(1) > LINE_CAP:
        raise complaint(raw)
    return RequestHead(raw, match)


def bad(message: str) -> HttpError:
    """400, with a sentence for the log."""
    return HttpError(400, "bad_request", message)


def _host(text: bytes | None, rest: bytes | None, minor: int) -> str:
    if text is None:
        if minor:
            raise bad("no Host")
        return ""
    # the quick way for ports below 10000
    if not rest or (rest[0] == 0x3A and rest[1:].isdigit() and rest[1] != 0x30 and len(rest) < 6):
        host = name_of(text)
    else:
        host = host_of((text + rest).rstrip(b" \t"))
    if host is None:
        raise bad("malformed Host")
    return host


def _check_utf8(target: bytes) -> None:
    try:
        target.decode("utf-8")
    except UnicodeDecodeError:
        raise bad("the target is neither ASCII nor UTF-8") from None
