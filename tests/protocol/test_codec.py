"""The rules of fields, on a small set of classes of our own: nothing here depends on the real messages."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from protocol.codec import MAX_COUNT, Codec, wire_key
from protocol.errors import WireError


class Word:
    """Base of the test's messages."""


@dataclass(frozen=True)
class Part:
    size: int = 0
    os: str = ""


@dataclass(frozen=True)
class Empty(Word):
    pass


@dataclass(frozen=True)
class Full(Word):
    url_text: str = ""
    port: int = 0
    greeting: str = "hello"
    extra: str | None = None
    flag: bool | None = None
    words: tuple[str, ...] | None = None
    part: Part | None = None


CODEC: Codec[Word] = Codec((Empty, Full), parts=(Part,), limits={"Port": 100})


@pytest.mark.parametrize(
    ("attribute", "key"),
    [("url", "Url"), ("client_id", "ClientId"), ("os", "OS"), ("mm_version", "MmVersion"), ("http_auth", "HttpAuth")],
)
def test_keys(attribute: str, key: str) -> None:
    assert wire_key(attribute) == key


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Empty(), b'{"Type":"Empty","Payload":{}}'),
        (Full(), b'{"Type":"Full","Payload":{"UrlText":"","Port":0,"Greeting":"hello"}}'),
        (
            Full("u", 7, "", "e", False, ("a", "b"), Part(3, "x")),
            b'{"Type":"Full","Payload":{"UrlText":"u","Port":7,"Greeting":"","Extra":"e","Flag":false,'
            b'"Words":["a","b"],"Part":{"Size":3,"OS":"x"}}}',
        ),
        (
            Full(words=()),
            b'{"Type":"Full","Payload":{"UrlText":"","Port":0,"Greeting":"hello","Words":[]}}',
        ),
    ],
    ids=["empty", "zero", "full", "no words"],
)
def test_there_and_back(message: Word, body: bytes) -> None:
    assert CODEC.encode(message) == body
    assert CODEC.decode(body) == message


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("{}", Full(greeting="")),
        ("null", Full(greeting="")),
        ('{"urltext":"a"}', Full("a", greeting="")),
        ('{"URLTEXT":"a","other":{"deep":[1]}}', Full("a", greeting="")),
        ('{"UrlText":"a","urlText":"b"}', Full("b", greeting="")),
        ('{"urlText":"a","UrlText":"b"}', Full("b", greeting="")),
        ('{"UrlText":"a","UrlText":"b"}', Full("b", greeting="")),
        ('{"UrlText":"a","urltext":null}', Full("a", greeting="")),
        ('{"UrlText":null,"Port":null,"Extra":null,"Part":null}', Full(greeting="")),
        ('{"Port":100,"Words":[],"Part":{"os":"a","Size":1,"x":0}}', Full("", 100, "", words=(), part=Part(1, "a"))),
        ('{"Flag":true}', Full("", 0, "", flag=True)),
        ('{"Greetin\u212a":1}', Full(greeting="")),
    ],
)
def test_gos_leniency(payload: str, message: Word) -> None:
    assert CODEC.decode(f'{{"Type":"Full","Payload":{payload}}}'.encode()) == message


@pytest.mark.parametrize(
    "body",
    [
        '{"type":"Full","payload":{"Port":1},"Extra":0}',
        '{"Payload":{"Port":1},"Type":"Full"}',
        '{"Type":"Empty","TYPE":"Full","Payload":{"Port":1}}',
    ],
)
def test_the_envelopes_keys_are_as_lenient(body: str) -> None:
    assert CODEC.decode(body.encode()) == Full("", 1, "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{}", "bad_message"),
        ('{"Type":"Full"}', "bad_message"),
        ('{"Payload":{}}', "bad_message"),
        ('{"Type":null,"Payload":{}}', "bad_message"),
        ('{"Type":["Full"],"Payload":{}}', "bad_message"),
        ('{"Type":"full","Payload":{}}', "unknown_type"),
        ('{"Type":"Word","Payload":{}}', "unknown_type"),
        ('{"Type":"","Payload":{}}', "unknown_type"),
        ('{"Type":"Full","Payload":[]}', "bad_message"),
        ('{"Type":"Full","Payload":"{}"}', "bad_message"),
        ('{"Type":"Full","Payload":0}', "bad_message"),
        *[
            (f'{{"Type":"Full","Payload":{{{field}}}}}', "bad_message")
            for field in (
                '"UrlText":1',
                '"UrlText":["a"]',
                '"urltext":false',
                '"Port":"1"',
                '"Port":-1',
                '"Port":101',
                '"Port":1.0',
                '"Port":1e1',
                '"Port":true',
                '"Port":1e400',
                f'"Part":{{"Size":{MAX_COUNT + 1}}}',
                '"Part":[]',
                '"Part":{"OS":1}',
                '"Words":"a"',
                '"Words":["a",1]',
                '"Words":["a",null]',
                '"Words":{}',
                '"Flag":0',
                '"Flag":"true"',
                '"Extra":1',
            )
        ],
    ],
)
def test_refused(body: str, code: str) -> None:
    with pytest.raises(WireError) as caught:
        CODEC.decode(body.encode())
    assert caught.value.code == code


def test_a_class_outside_the_set_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        CODEC.encode(Word())
