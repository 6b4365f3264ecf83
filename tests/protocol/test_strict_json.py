"""Go's JSON and nothing more: what is taken, what is refused, and that only WireError ever comes out."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.strict_json import MAX_CONTAINERS, MAX_DEPTH, as_go_writes, clean_text, dump, parse_object, quote


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' \t\r\n{"a" : 1 } \n', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":"\xff\xc3"}', {"a": "\ufffd\ufffd"}),
        (b'{"a":"\\ud800"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d\\ude00 \\udc00"}', {"a": "\U0001f600 \ufffd"}),
        (b'{"\\udfff":[{"\\ud800":"\\ud800"}]}', {"\ufffd": [{"\ufffd": "\ufffd"}]}),
        (b'{"a":null,"b":true,"c":1.5,"d":-1}', {"a": None, "b": True, "c": 1.5, "d": -1}),
        (b'{"a":"[[[[' + b"[" * 60 + b'"}', {"a": "[" * 64}),
        (b'{"a":"\\"' + b"{" * 60 + b'\\\\"}', {"a": '"' + "{" * 60 + "\\"}),
    ],
)
def test_taken(body: bytes, value: object) -> None:
    assert parse_object(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{} {}",
        b"{}x",
        b"{}\0",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"{\0}\0",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":0x1}',
        b'{"a":"\n"}',
        b'{"a":"\\x41"}',
        b'{"a":"\\ud8"}',
        b'{"a":"',
        b'{"a"',
        b"{//\n}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH,
        b'{"a":' + b"[" * 100_000,
        b"[" * 1_000_000,
        b'{"a":"x","b":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a":[' + b",".join([b"[]"] * MAX_CONTAINERS) + b"]}",
        b'{"a":[' + b",".join([b"[]"] * 40) + b"}}",
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_refused(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse_object(body)
    assert caught.value.code == "bad_json"
    assert caught.value.__cause__ is None


def test_the_deepest_that_is_allowed() -> None:
    assert parse_object(b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1))
    wide = b'{"a":[' + b",".join([b"[]"] * (MAX_CONTAINERS - 2)) + b"]}"
    assert len(parse_object(wide)["a"]) == MAX_CONTAINERS - 2  # type: ignore[arg-type]


def test_what_the_peer_sent_is_not_repeated() -> None:
    with pytest.raises(WireError) as caught:
        parse_object(b'{"token":"canary" canary}')
    assert "canary" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_our_error(body: bytes) -> None:
    try:
        parse_object(body)
    except WireError:
        return


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=4))
def test_what_we_write_we_read_back(value: dict[str, object]) -> None:
    assert parse_object(as_go_writes(dump(value))) == value


@given(st.dictionaries(st.text(), _VALUES, max_size=4))
def test_escaped_spellings_read_the_same(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


def test_go_escapes() -> None:
    assert as_go_writes(quote("<a&b>\u2028\u2029é\ud800")) == '"\\u003ca\\u0026b\\u003e\\u2028\\u2029é\ufffd"'.encode()
    assert as_go_writes(quote('"\\\n\0')) == b'"\\"\\\\\\n\\u0000"'


def test_clean_text() -> None:
    assert clean_text("a\udc80b") == "a\ufffdb"
    assert clean_text("plain") == "plain"


def test_dump_takes_frozen_mappings_and_refuses_the_rest() -> None:
    assert dump(MappingProxyType({"a": (1, MappingProxyType({}))})) == '{"a":[1,{}]}'
    with pytest.raises(TypeError):
        dump({"a": object()})
    with pytest.raises(ValueError):
        dump({"a": float("nan")})
