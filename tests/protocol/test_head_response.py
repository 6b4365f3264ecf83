"""Response heads: an untrusted service, read as strictly as a visitor; h11 as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Blame, HttpError
from protocol.fields import LISTS_CAP
from protocol.head import CHUNKED, FIELD_CAP, HEAD_CAP, LINE_CAP, UNTIL_CLOSE, parse_response
from tests.kit.agreement import response_agrees
from tests.kit.hostile_heads import REFUSED_RESPONSES, STRANGE_RESPONSES, answer
from tests.kit.http_strategies import responses

CLOSE = b"Connection: close\r\n"


def refused(raw: bytes, method: bytes = b"GET", upgrade: bytes | None = None) -> None:
    with pytest.raises(HttpError) as caught:
        parse_response(raw, method=method, upgrade=upgrade)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_response")
    assert caught.value.blame is Blame.UPSTREAM


@pytest.mark.parametrize("name", REFUSED_RESPONSES)
def test_refused(name: str) -> None:
    refused(REFUSED_RESPONSES[name])
    if "length" in name or "coding" in name:
        refused(REFUSED_RESPONSES[name], b"HEAD")


@pytest.mark.parametrize("name", STRANGE_RESPONSES)
def test_strange_but_good(name: str) -> None:
    raw, expected = STRANGE_RESPONSES[name]
    seen = parse_response(raw, method=b"GET")
    assert {attribute: getattr(seen, attribute) for attribute in expected} == expected


def test_caps() -> None:
    line = b"HTTP/1.1 200 " + b"a" * (LINE_CAP - 13)
    assert parse_response(answer(first=line), method=b"GET").status == 200
    refused(answer(first=line + b"a"))
    room = HEAD_CAP - len(answer(b"A: "))
    parse_response(answer(b"A: " + b"b" * room), method=b"GET")
    refused(answer(b"A: " + b"b" * (room + 1)))
    assert len(parse_response(answer(*[b"A: b"] * FIELD_CAP), method=b"GET").fields) == FIELD_CAP
    refused(answer(*[b"A: b"] * (FIELD_CAP + 1)))


def test_list_cap() -> None:
    long = b"a," * (LISTS_CAP // 2)
    assert parse_response(answer(b"Connection: " + long, b"Content-Length: 1"), method=b"GET").keep_alive
    refused(answer(b"Connection: " + long + b"a"))


@pytest.mark.parametrize(
    ("first", "method"),
    [
        *((b"HTTP/1.1 200 OK", b"HEAD"), (b"HTTP/1.1 100 C", b"GET"), (b"HTTP/1.1 103 E", b"POST")),
        *((b"HTTP/1.1 204 N", b"GET"), (b"HTTP/1.1 304 N", b"GET"), (b"HTTP/1.0 200 OK", b"HEAD")),
    ],
)
@pytest.mark.parametrize("line", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"A: b"])
def test_no_body_whatever_the_fields_say(first: bytes, method: bytes, line: bytes) -> None:
    if first.startswith(b"HTTP/1.0") and line.startswith(b"T"):
        return
    seen = parse_response(answer(line, first=first), method=method)
    assert seen.length == 0
    assert seen.body().done
    assert seen.body().scan(b"x", 0, 1) == 0
    framing_goes = not line.startswith(b"A") and (seen.status < 200 or seen.status == 204)
    assert (line in seen.forward(CLOSE)) is not framing_goes


def test_bodies() -> None:
    assert parse_response(answer(b"Content-Length: 3"), method=b"GET").body().scan(b"abcd", 0, 4) == 3
    assert parse_response(answer(b"Content-Length: 0"), method=b"GET").body().done
    until_close = parse_response(answer(), method=b"GET")
    assert until_close.length == UNTIL_CLOSE
    assert not until_close.body().done
    chunked = parse_response(answer(b"Transfer-Encoding: chunked"), method=b"GET")
    assert chunked.length == CHUNKED
    with pytest.raises(HttpError) as caught:
        chunked.body().scan(b"x", 0, 1)
    assert caught.value.status == 502


# -- upgrades
UPGRADE = answer(b"Upgrade: WebSocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: x", first=b"HTTP/1.1 101 S")


def test_upgrade_that_was_asked_for() -> None:
    seen = parse_response(UPGRADE, method=b"GET", upgrade=b"foo/2, websocket")
    assert seen.upgrade == b"websocket"
    assert seen.forward(b"") == answer(
        b"Connection: Upgrade", b"Upgrade: WebSocket", b"Sec-WebSocket-Accept: x", first=b"HTTP/1.1 101 S"
    )


def test_426_says_what_it_wants() -> None:
    seen = parse_response(
        answer(
            b"Upgrade: websocket, h2c", b"Connection: upgrade", b"A: b", b"Content-Length: 0", first=b"HTTP/1.1 426 U"
        ),
        method=b"GET",
    )
    assert seen.upgrade is None
    assert seen.forward(b"") == (
        b"HTTP/1.1 426 U\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\nContent-Length: 0\r\n\r\n"
    )


@pytest.mark.parametrize("asked", [None, b"foo", b"web", b"websocket2"])
def test_upgrade_that_nobody_asked_for(asked: bytes | None) -> None:
    refused(UPGRADE, upgrade=asked)


def test_101_must_say_what_it_switches_to() -> None:
    refused(answer(b"Upgrade: websocket", first=b"HTTP/1.1 101 S"), upgrade=b"websocket")
    refused(answer(b"Connection: upgrade", first=b"HTTP/1.1 101 S"), upgrade=b"websocket")
    refused(answer(b"Connection: upgrade", b"Upgrade: h2c", first=b"HTTP/1.1 101 S"), upgrade=b"h2c")


def test_upgrade_on_another_status_is_an_offer_and_goes() -> None:
    raw = answer(b"Upgrade: h2c", b"Connection: Upgrade", b"Content-Length: 1")
    seen = parse_response(raw, method=b"GET", upgrade=b"websocket")
    assert seen.upgrade is None
    assert seen.forward(b"") == answer(b"Content-Length: 1")


# -- what is forwarded
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    "line",
    [
        *(b"Connection: close", b"connection:keep-alive", b"Connection: x, y", b"Connection:", b"Keep-Alive: timeout=5"),
        *(b"Keep-Alive: a\r\nKeep-Alive: b", b"Proxy-Connection: x", b"Proxy-Authenticate: Basic", b"TE: x", b"Upgrade: h2"),
        *(b"Connection: close\r\nConnection: X-Gone\r\nX-Gone: 1", b"Connection: close\r\nKeep-Alive: timeout=5"),
    ],
)  # fmt: skip
def test_gone(line: bytes, position: int) -> None:
    rest = [b"A: b", b"set-cookie: c=\xe4 "]
    rest.insert(position, line)
    seen = parse_response(answer(*rest), method=b"GET")
    assert seen.forward(CLOSE).replace(b"\xe4 ", b"\xe4") == answer(b"A: b", b"set-cookie: c=\xe4", CLOSE[:-2])


def test_old_versions_are_forwarded_as_ours_and_coding_is_written_anew() -> None:
    old = answer(b"Content-Length: 5", first=b"HTTP/1.0 200 Fine")
    assert parse_response(old, method=b"GET").forward(b"") == answer(b"Content-Length: 5", first=b"HTTP/1.1 200 Fine")
    raw = answer(b"A: b", b"transfer-encoding: \tChunked\t", b"C: d")
    assert parse_response(raw, method=b"GET").forward(b"") == answer(b"A: b", b"Transfer-Encoding: chunked", b"C: d")


def test_drop() -> None:
    raw = answer(b"Server: x", b"Connection: close", b"Set-Cookie: a", b"Set-Cookie: b", b"Transfer-Encoding: chunked")
    drop = frozenset({b"set-cookie", b"server"})
    assert parse_response(raw, method=b"GET").forward(b"A: b\r\n", drop) == answer(
        b"Transfer-Encoding: chunked", b"A: b"
    )


# -- the oracle
@given(responses(), st.sampled_from([b"GET", b"HEAD"]))
def test_the_oracle_agrees_on_generated_heads(raw: bytes, method: bytes) -> None:
    ours = response_agrees(raw, method)
    if ours is not None:
        again = response_agrees(ours.forward(CLOSE if ours.upgrade is None else b""), method)
        assert again is not None
        assert (again.status, again.length, again.upgrade) == (ours.status, ours.length, ours.upgrade)
        assert b"keep-alive" not in [name.lower() for name, _ in again.fields]


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_raise_our_error(raw: bytes) -> None:
    response_agrees(raw, b"GET")
    response_agrees(b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n", b"GET")
