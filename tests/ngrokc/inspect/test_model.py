from __future__ import annotations

from ngrokc.inspect.model import MESSAGE_COST, Message
from tests.kit.inspection import Bench


def test_messages_make_room_by_count_and_size() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /\xff\xe2\x82\xac HTTP/1.1\r\nA: 1\r\na: 2\r\n\r\n")
    (exchange,) = bench.exchanges()
    for number in range(10):
        exchange.add_message(Message(number, True, "text", b"x" * 100, 100), 5, 10_000)
    assert (len(exchange.messages), exchange.messages_lost) == (5, 5)
    exchange.add_message(Message(11, True, "text", b"x" * 5000, 5000), 5, 5000)
    assert (len(exchange.messages), exchange.messages_size) == (1, 5000 + MESSAGE_COST)
    assert exchange.weight > 5000
    assert exchange.target == "/?€"
    assert exchange.request.get(b"a") == b"1"
    assert exchange.request.get(b"b") == b""
    assert not exchange.over
    exchange.release()
    assert not exchange.messages
