"""Finding the end of a head, refusing early, and the pattern's linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import HttpError
from protocol.grammar import FIELD_CAP, HEAD_CAP, LENGTH_DIGITS, LINE_CAP, complaint, content_length, head_end
from protocol.head import parse_request, parse_response
from tests.kit.hostile_heads import head

HEAD = head(b"A: b", b"C: d")


def status_of(buf: bytes, start: int = 0, seen: int = 0) -> int:
    with pytest.raises(HttpError) as caught:
        head_end(buf, start, seen)
    return caught.value.status


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_head_end(kind: type[bytes | bytearray]) -> None:
    assert head_end(kind(HEAD)) == len(HEAD)
    assert head_end(kind(HEAD + HEAD)) == len(HEAD)
    assert head_end(kind(HEAD + HEAD), len(HEAD)) == 2 * len(HEAD)
    assert head_end(kind(b"\r\n" + HEAD)) == len(HEAD) + 2
    assert head_end(kind(b"")) == -1


def test_byte_by_byte_with_what_was_seen() -> None:
    for before in (b"", HEAD):
        buf, seen = before, len(before)
        for byte in HEAD[:-1]:
            buf += bytes([byte])
            assert head_end(buf, len(before), seen) == -1
            seen = len(buf)
        assert head_end(buf + b"\nrest", len(before), seen) == len(before) + len(HEAD)


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"\n",
        b"GET\r/",
        b"\x00",
        b"\x16\x03\x01\x00",
        b"GET / HTTP/1.1\r\n\r\r",
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(start: bytes) -> None:
    assert status_of(start) == 400
    assert status_of(b"GET /a HTTP/1.1\r\n" + start, 0, 17) == 400


def test_caps_without_waiting_for_the_end() -> None:
    line = b"GET /" + b"a" * LINE_CAP
    assert status_of(line) == 414
    assert head_end(line[:LINE_CAP]) == -1
    assert head_end(b"\r\n" + line[:LINE_CAP]) == -1
    begun = head()[:-2] + b"A: "
    assert head_end(begun + b"b" * (HEAD_CAP - len(begun) - 1)) == -1
    assert status_of(begun + b"b" * (HEAD_CAP - len(begun))) == 431
    full = begun + b"b" * (HEAD_CAP - len(begun) - 4) + b"\r\n\r\n"
    assert head_end(full + b"rest") == HEAD_CAP
    assert status_of(begun + b"b" + full[len(begun) :]) == 431


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_any_cut_finds_the_same_end(data: bytes, cuts: list[int]) -> None:
    for raw in (data, HEAD[:-4] + data, HEAD + data):
        try:
            expected: int | None = head_end(raw)
        except HttpError:
            expected = None
        seen, found = 0, -1
        try:
            for cut in [*sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]:
                found = head_end(raw[:cut], 0, seen)
                if found >= 0:
                    break
                seen = cut
        except HttpError:
            assert expected is None or b"\r\n\r\n" in raw  # refused before its end was there: parse refuses it too
            if expected is not None and expected >= 0:
                with pytest.raises(HttpError):
                    parse_request(raw[:expected])
            continue
        assert found == expected


def test_complaints() -> None:
    assert complaint(b"GET /" + b"a" * LINE_CAP).code == "uri_too_long"
    assert complaint(b"\r\nGET / HTTP/1.1\r\n" + b"A: b\r\n" * (FIELD_CAP + 1) + b"\r\n").code == "head_too_large"
    assert complaint(head(b"A: b\x00")).code == "bad_request"


def test_content_length() -> None:
    assert content_length(b"0", b"") == 0
    assert content_length(b"9" * LENGTH_DIGITS, b" \t") == 10**18 - 1
    for digits, rest in (
        (b"9" * (LENGTH_DIGITS + 1), b""),
        (b"", b""),
        (b"00", b""),
        (b"5", b","),
        (b"5", b" 5"),
        (b"", b"-5"),
    ):
        with pytest.raises(HttpError):
            content_length(digits, rest)


@pytest.mark.parametrize(
    "filler",
    [
        *(
            b"Connection: a\r\n",
            b"connection:\r\n",
            b"A: b\r\n",
            b"A_b: c\r\n",
            b"Keep-Alive: a\r\n",
            b"X-Forwarded-For: a\r\n",
        ),
        *(b"Te: a\r\n", b"Content-Lengthx: 1\r\n", b"Hosts: 1\r\n", b"Upgrade: " + b"a," * 100 + b"\r\n"),
        *(b"Connection: " + b", " * 100 + b"\r\n", b"A:" + b" " * 300 + b"\r\n", b"A" * 300 + b":\r\n"),
    ],
)
@pytest.mark.parametrize("end", [b"\x00", b"A\r\n\r\n", b"\r\n"])
def test_hostile_heads_cost_linear_time(filler: bytes, end: bytes) -> None:
    """A pattern that backtracks would take years here; a linear one takes a fraction of a millisecond."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + filler * (FIELD_CAP - 1) + end
    begin = time.perf_counter()
    for parse in (parse_request, lambda raw: parse_response(b"HTTP/1.1 200 OK" + raw[14:], method=b"GET")):
        try:
            parse(raw[:HEAD_CAP])
        except HttpError:
            continue
    assert time.perf_counter() - begin < 0.5
