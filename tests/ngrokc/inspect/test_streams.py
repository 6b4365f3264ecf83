from __future__ import annotations

import zlib

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from tests.kit.inspection import Bench

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_websocket_messages_both_ways_compressed() -> None:
    bench = Bench()
    talk = bench.talk()
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)

    def up(data: bytes) -> None:
        talk.feed(True, 1, data)
        server.receive_data(data)
        list(server.events())

    def down(data: bytes) -> None:
        talk.feed(False, 2, data)
        client.receive_data(data)
        list(client.events())

    up(client.send(Request(host="t", target="/ws", extensions=[PerMessageDeflate()])))
    down(server.send(AcceptConnection(extensions=[PerMessageDeflate()])))
    for _ in range(3):
        up(client.send(TextMessage(data="hello " * 20)))
    down(server.send(BytesMessage(data=b"\x00\xff" * 5)))
    up(client.send(TextMessage(data="half", message_finished=False)) + client.send(TextMessage(data=" whole")))
    up(client.send(Ping(payload=b"p")))
    (exchange,) = bench.exchanges()
    assert (exchange.kind, exchange.state) == ("websocket", "open")
    down(server.send(CloseConnection(code=1000)))
    shown = [(m.up, m.kind, m.data) for m in exchange.messages]
    assert shown == [
        *[(True, "text", b"hello " * 20)] * 3,
        (False, "binary", b"\x00\xff" * 5),
        (True, "text", b"half whole"),
        (True, "ping", b"p"),
        (False, "close", b"\x03\xe8"),
    ]
    talk.closed(3, None)
    assert exchange.state == "done"


def test_server_sent_events_as_they_come() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /sse HTTP/1.1\r\nHost: t\r\n\r\n")
    talk.feed(False, 2, SSE + chunk(b"event: tick\nid: 7\ndata: 1\nda"))
    (exchange,) = bench.exchanges()
    assert not exchange.messages
    talk.feed(False, 3, chunk(b"ta: 2\n\ndata: x\r\n\r\n"))
    assert [(m.at, m.name, m.data) for m in exchange.messages] == [(3, "tick", b"1\n2"), (3, "message", b"x")]
    talk.feed(False, 4, b"0\r\n\r\n")
    assert (exchange.kind, exchange.state) == ("sse", "done")
    assert exchange.answer is not None
    assert b"event: tick" in exchange.answer.body.read()
    talk.feed(True, 5, b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n")
    assert bench.exchanges()[1].kind == "http"


def test_another_upgrade_is_counted_only() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET / HTTP/1.1\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n")
    talk.feed(False, 2, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\nabc")
    talk.feed(True, 3, b"12345")
    talk.gap(True, 4, 10)
    (exchange,) = bench.exchanges()
    assert exchange.answer is not None
    assert (exchange.kind, exchange.request.body.size, exchange.answer.body.size) == ("upgraded", 15, 3)


def test_unreadable_messages_are_noted_and_the_other_side_goes_on() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    talk.feed(False, 2, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x81\x02hi")
    talk.feed(True, 3, b"\xf7\xff garbage garbage")
    talk.feed(False, 4, b"\x81\x02ho")
    (exchange,) = bench.exchanges()
    assert [m.data for m in exchange.messages] == [b"hi", b"ho"]
    assert "visitor's messages" in exchange.notes[0]


def test_events_of_a_compressed_answer() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /events HTTP/1.1\r\nHost: t\r\n\r\n")
    talk.feed(False, 2, SSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
    packer = zlib.compressobj(wbits=31)
    for number in range(3):
        text = packer.compress(b"data: token %d\n\n" % number) + packer.flush(zlib.Z_SYNC_FLUSH)
        talk.feed(False, 3 + number, chunk(text))
        (exchange,) = bench.exchanges()
        assert [message.data for message in exchange.messages][-1] == b"token %d" % number
    assert [message.at for message in exchange.messages] == [3, 4, 5]
    assert exchange.kind == "sse"
    talk.feed(False, 9, chunk(b"\0" * 100))
    assert "damaged" in exchange.notes[-1]
    talk.feed(False, 9, b"0\r\n\r\n")
    assert exchange.state == "done"


def test_events_of_a_coding_that_nobody_knows() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /events HTTP/1.1\r\nHost: t\r\n\r\n")
    talk.feed(False, 2, SSE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: dcb\r\n\r\n") + chunk(b"x") + b"0\r\n\r\n")
    (exchange,) = bench.exchanges()
    assert (exchange.state, len(exchange.messages)) == ("done", 0)
    assert "unknown content coding" in exchange.notes[0]


def test_a_gap_in_events_ends_them_and_not_the_exchange() -> None:
    bench = Bench()
    talk = bench.talk()
    talk.feed(True, 1, b"GET /events HTTP/1.1\r\nHost: t\r\n\r\n")
    talk.feed(False, 2, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: a\n\n")
    talk.gap(False, 3, 1000)
    talk.feed(False, 4, b"data: b\n\n")
    talk.ended(False, 5)
    (exchange,) = bench.exchanges()
    assert exchange.answer is not None
    assert (exchange.state, exchange.answer.body.size) == ("done", 1018)
    assert [message.data for message in exchange.messages] == [b"a"]
