from __future__ import annotations

from ngrokc.inspect.model import Connection, Message, Origin
from ngrokc.inspect.web.rows import detail, message_row, row
from tests.kit.inspection import ORIGIN, Bench

REQUEST = b'GET /a?x=1&key=canary HTTP/1.1\r\nCookie: a=canary; b="q uoted"\r\n\r\n'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nSet-Cookie: s=canary; Path=/\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


def test_an_exchange() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 10, REQUEST)
    (exchange,) = bench.exchanges()
    assert detail(exchange, reveal=False)["answer"] is None
    talk.feed(False, 11, ANSWER)
    hidden = detail(exchange, reveal=False)
    assert "canary" not in str(hidden)
    assert hidden["request"]["query"] == [("x", "1"), ("key", "********")]
    assert hidden["times"] == {"start": 10, "head": 0, "first": 1000, "end": 1000}
    assert hidden["request"]["secrets"] == ["Cookie"]
    shown = detail(exchange, reveal=True)
    assert shown["request"]["cookies"] == [("a", "canary"), ("b", "q uoted")]
    assert shown["answer"]["cookies"] == [("s", "canary; Path=/")]
    assert row(exchange)["ms"] == 1000


def test_a_connection_and_a_refusal() -> None:
    connection = Connection("1", Origin("ssh", "tcp://x:1", "tcp", "c", "1.2.3.4:5"), 10)
    assert (row(connection)["kind"], row(connection)["state"], row(connection)["ms"]) == ("tcp", "open", None)
    refused = Connection("1", ORIGIN, 10)
    refused.failure, refused.ended_at = "upstream_refused: nothing listens there", 11
    assert (row(refused)["kind"], row(refused)["state"]) == ("refused", "failed")


def test_messages() -> None:
    text = message_row(Message(2, True, "text", "ü".encode(), 2), 1)
    assert (text["text"], text["ms"]) == ("ü", 1000)
    assert message_row(Message(2, False, "binary", b"\x00\x01", 2), 1)["hex"] == "00 01"


def test_a_close_is_a_code_and_a_reason() -> None:
    texts = [
        message_row(Message(2, True, "close", data, len(data)), 1)["text"]
        for data in (b"\x03\xe8", b"\x03\xe9bye", b"")
    ]
    assert texts == ["1000", "1001 bye", ""]
