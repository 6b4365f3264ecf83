"""Request heads: hostile tables, caps at the limit and one past it, what is forwarded, and h11 as the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Blame, HttpError
from protocol.fields import LISTS_CAP
from protocol.head import CHUNKED, FIELD_CAP, HEAD_CAP, LINE_CAP, parse_request
from tests.kit.agreement import request_agrees
from tests.kit.hostile_heads import HOST, REFUSED_REQUESTS, STRANGE_REQUESTS, head, post
from tests.kit.http_strategies import requests

FIXED_MESSAGES = {
    "malformed head",
    "no Host",
    "malformed Host",
    "malformed target",
    "the target contradicts Host",
    "the target is neither ASCII nor UTF-8",
    "malformed Content-Length",
    "ambiguous framing",
    "a field name that shadows one of ours",
    "CONNECT and TRACE are not served",
    "an Expect that is not one 100-continue",
}
FORWARDED_FOR = b"X-Forwarded-For: 192.0.2.1\r\n"


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
def test_refused(name: str) -> None:
    status, raw = REFUSED_REQUESTS[name]
    with pytest.raises(HttpError) as caught:
        parse_request(raw)
    assert caught.value.status == status
    assert caught.value.blame is Blame.VISITOR
    assert caught.value.message in FIXED_MESSAGES  # nothing of the visitor's bytes gets into it


def test_enough_hostile_heads() -> None:
    assert len(REFUSED_REQUESTS) >= 200


@pytest.mark.parametrize("name", STRANGE_REQUESTS)
def test_strange_but_good(name: str) -> None:
    raw, expected = STRANGE_REQUESTS[name]
    seen = parse_request(raw)
    assert {attribute: getattr(seen, attribute) for attribute in expected} == expected
    again = parse_request(seen.forward(FORWARDED_FOR))
    assert (again.method, again.target, again.host, again.length) == (seen.method, seen.target, seen.host, seen.length)


# -- caps
def long_line(size: int) -> bytes:
    fixed = len(b"GET / HTTP/1.1")
    return head(first=b"GET /" + b"a" * (size - fixed) + b" HTTP/1.1")


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_line_cap(before: bytes) -> None:
    assert parse_request(before + long_line(LINE_CAP)).target.startswith(b"/aaa")
    with pytest.raises(HttpError) as caught:
        parse_request(before + long_line(LINE_CAP + 1))
    assert (caught.value.status, caught.value.code) == (414, "uri_too_long")


def test_head_cap() -> None:
    room = HEAD_CAP - len(head(b"A: "))
    assert len(parse_request(head(b"A: " + b"b" * room)).fields) == 2
    with pytest.raises(HttpError) as caught:
        parse_request(head(b"A: " + b"b" * (room + 1)))
    assert (caught.value.status, caught.value.code) == (431, "head_too_large")


def test_field_cap() -> None:
    assert len(parse_request(head(*[b"A: b"] * (FIELD_CAP - 1))).fields) == FIELD_CAP
    with pytest.raises(HttpError) as caught:
        parse_request(head(*[b"A: b"] * FIELD_CAP))
    assert (caught.value.status, caught.value.code) == (431, "head_too_large")


def test_list_cap() -> None:
    long = b"a," * (LISTS_CAP // 2)
    assert parse_request(head(b"Connection: " + long)).keep_alive
    for lines in ([long + b"a"], [long, b"close"]):
        with pytest.raises(HttpError, match="too long"):
            parse_request(head(*[b"Connection: " + line for line in lines]))


# -- what is forwarded
def forwarded(raw: bytes, added: bytes = b"", drop: frozenset[bytes] = frozenset()) -> bytes:
    return parse_request(raw).forward(added, drop)


def test_names_values_and_order_stay() -> None:
    raw = head(b"aCCept:  */* ", b"X-Empty:", b"COOKIE:\ta=b; c=\xe4", b"Cookie: second", b"my_field: 1")
    assert parse_request(raw).fields == [
        (b"Host", b"a.test"),
        (b"aCCept", b"*/*"),
        (b"X-Empty", b""),
        (b"COOKIE", b"a=b; c=\xe4"),
        (b"Cookie", b"second"),
        (b"my_field", b"1"),
    ]
    assert parse_request(forwarded(raw)).fields == parse_request(raw).fields


def test_added_comes_last() -> None:
    assert forwarded(head(b"A: b"), FORWARDED_FOR) == head(b"A: b", FORWARDED_FOR[:-2])
    assert forwarded(b"\r\n" + head(b"A: b"), FORWARDED_FOR) == head(b"A: b", FORWARDED_FOR[:-2])


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    "line",
    [
        *(b"Connection: close", b"connection:keep-alive", b"CONNECTION:  Keep-Alive \t", b"Connection: x, y", b"Connection:"),
        *(b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic YTpi"),
        *(b"Proxy-Authenticate: x", b"TE: gzip", b"TE: gzip;q=0.5, deflate", b"Upgrade: websocket", b"HTTP2-Settings: AA"),
        *(b"X-Forwarded-For: 6.6.6.6", b"x-forwarded-for: 6.6.6.6", b"X-FORWARDED-PROTO: https", b"X-Forwarded-Host: b"),
        *(b"X-Forwarded-Port: 1", b"X-Forwarded-Server: b", b"X-Forwarded-Prefix: /b", b"X-Forwarded-Ssl: on"),
        *(b"X-Forwarded: for=6.6.6.6", b"Forwarded: for=6.6.6.6", b"X-Real-IP: 6.6.6.6", b"X-Real-Ip:6.6.6.6"),
    ],
)  # fmt: skip
def test_gone(line: bytes, position: int) -> None:
    rest = [b"A: b", b"C: d"]
    rest.insert(position, line)
    assert forwarded(head(*rest), FORWARDED_FOR) == head(b"A: b", b"C: d", FORWARDED_FOR[:-2])


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("target", ["/a", "http://a.example/a"])
def test_with_edge_owned_fields_alone_the_rest_is_as_without_them(minor: int, target: str) -> None:
    line = f"GET {target} HTTP/1.{minor}\r\n".encode()
    plain = line + b"Host: a.example\r\nX-One: 1\r\n\r\n"
    owned = plain.replace(b"X-One", b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-One")
    one, other = parse_request(plain), parse_request(owned)
    assert other.forward(b"X-Two: 2\r\n") == one.forward(b"X-Two: 2\r\n")
    assert other.keep_alive is one.keep_alive is bool(minor)
    assert (other.length, other.upgrade, other.expect_continue) == (0, None, False)


def test_connection_takes_what_it_lists_but_neither_framing_nor_ours() -> None:
    listed = b"Connection: X-Secret, cookie, Host, Content-Length, X-Forwarded-For, close"
    raw = post(b"X-Secret: 1", b"Cookie: 2", b"Content-Length: 5", b"X-Secrets: 3", listed)
    assert forwarded(raw, FORWARDED_FOR) == post(b"Content-Length: 5", b"X-Secrets: 3", FORWARDED_FOR[:-2])
    raw = post(b"Transfer-Encoding: chunked", b"Connection: transfer-encoding")
    assert forwarded(raw) == post(b"Transfer-Encoding: chunked")


def test_transfer_encoding_is_written_anew() -> None:
    assert forwarded(post(b"A: b", b"transfer-encoding:\tCHUNKED ", b"C: d")) == post(
        b"A: b", b"Transfer-Encoding: chunked", b"C: d"
    )


@pytest.mark.parametrize("named", [b"Connection: TE", b"Connection: close"])
def test_te_trailers_is_ours_to_say(named: bytes) -> None:
    assert forwarded(head(named, b"te: gzip, Trailers")) == head(b"TE: trailers")


def test_upgrade_is_forwarded_only_when_it_is_one() -> None:
    asked = head(b"Upgrade: WebSocket", b"Connection: keep-alive, upgrade", b"Sec-WebSocket-Key: x")
    assert forwarded(asked) == head(b"Connection: Upgrade\r\nUpgrade: WebSocket", b"Sec-WebSocket-Key: x")
    assert forwarded(head(b"Upgrade: websocket")) == head()
    both = head(
        b"Upgrade: h2c", b"Upgrade: foo/2, H2C-14", b"Connection: upgrade, HTTP2-Settings", b"HTTP2-Settings: A"
    )
    assert forwarded(both) == head(b"Connection: Upgrade\r\nUpgrade: foo/2")


def test_absolute_form_becomes_origin_form_with_one_host() -> None:
    assert forwarded(head(first=b"GET http://a.test/x HTTP/1.1")) == head(first=b"GET /x HTTP/1.1")
    first = b"GET http://a.test:81/x HTTP/1.0"
    assert forwarded(head(b"A: b", first=first, host=b"")) == head(
        b"A: b", first=b"GET /x HTTP/1.0", host=b"Host: a.test:81\r\n"
    )


def test_drop_for_host_header_and_policies() -> None:
    raw = head(b"Connection: close", b"A: b", b"Cookie: c", b"TE: trailers")
    drop = frozenset({b"host", b"cookie"})
    assert forwarded(raw, b"Host: localhost:3000\r\n", drop) == head(
        b"TE: trailers", b"Host: localhost:3000", host=b"A: b\r\n"
    )
    assert forwarded(head(b"A: b"), b"", frozenset({b"a"})) == head()
    first = b"GET http://a.test/ HTTP/1.0"
    assert forwarded(head(first=first, host=b""), b"Host: b\r\n", frozenset({b"host"})) == head(
        first=b"GET / HTTP/1.0", host=b"Host: b\r\n"
    )


@pytest.mark.parametrize("raw", [raw for raw, _ in STRANGE_REQUESTS.values()])
def test_host_alone_is_dropped_the_quick_way_and_the_long_way_alike(raw: bytes) -> None:
    added = b"Host: b\r\n"
    quick = parse_request(raw).forward(added, frozenset({b"host"}))
    slow = parse_request(raw).forward(added, frozenset({b"host", b"x-nothing"}))
    assert parse_request(quick).fields == parse_request(slow).fields
    assert parse_request(quick).host == "b"


def test_host_is_cut_before_and_behind_connection() -> None:
    for lines in ((b"Connection: close\r\nHost: a\r\n"), (b"Host: a\r\nConnection: close\r\n")):
        raw = b"GET / HTTP/1.1\r\nA: b\r\n" + lines + b"C: d\r\n\r\n"
        assert forwarded(raw, b"Host: b\r\n", frozenset({b"host"})) == head(b"C: d", b"Host: b", host=b"A: b\r\n")


def test_the_body_is_the_heads() -> None:
    assert parse_request(head()).body().done
    assert parse_request(post(b"Content-Length: 3")).body().scan(b"abcd", 0, 4) == 3
    assert parse_request(post(b"Transfer-Encoding: chunked")).length == CHUNKED


# -- the oracle
@pytest.mark.parametrize("name", STRANGE_REQUESTS)
def test_the_oracle_agrees_on_the_table(name: str) -> None:
    assert request_agrees(STRANGE_REQUESTS[name][0]) is not None


@given(requests())
def test_the_oracle_agrees_on_generated_heads(raw: bytes) -> None:
    ours = request_agrees(raw)
    if ours is None:
        return
    sent = ours.forward(FORWARDED_FOR)
    again = request_agrees(sent)
    assert again is not None
    assert (again.method, again.target, again.length) == (ours.method, ours.target, ours.length)
    assert (again.host, again.authorization) == (ours.host, ours.authorization)
    names = [name.lower() for name, _ in again.fields]
    assert names.count(b"host") == (1 if ours.host else 0)
    assert names.count(b"x-forwarded-for") == 1
    assert b"h2c" not in (again.upgrade or b"")
    assert again.forward(b"").count(b"6.6.6.6") == 0 or b"forwarded" not in again.forward(b"").lower()
    assert ours.forward(b"", frozenset({b"nothing"})).count(b"\r\n") == ours.forward(b"").count(b"\r\n")


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_raise_our_error(raw: bytes) -> None:
    request_agrees(raw)
    request_agrees(b"GET / HTTP/1.1\r\n" + HOST + raw + b"\r\n\r\n")


@pytest.mark.parametrize(
    "name",
    [b"X-Forwarded-For", b"x-forwarded-t.", b"X-Forwarded-#For", b"Forwarded", b"X-REAL-IP", b"TE", b"Keep-Alive"],
)
def test_lines_that_end_here_are_cut_wherever_they_stand(name: bytes) -> None:
    line = name + b": a\r\n"
    for lines in (
        line + b"Host: a.test\r\nB: 1\r\n",
        b"Host: a.test\r\n" + line + line + b"B: 1\r\n",
        b"Host: a.test\r\nB: 1\r\n" + line,
    ):
        head = parse_request(b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
        assert head.forward(b"C: 2\r\n") == b"GET / HTTP/1.1\r\nHost: a.test\r\nB: 1\r\nC: 2\r\n\r\n"
