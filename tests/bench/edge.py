"""What one exchange of a kept-alive visitor costs the edge by itself: `python -m tests.bench.edge`.

Head, routing, rewriting, answer and accounting over ports in memory: no sockets, no TLS, no mux, nobody else. For comparing
two states of the code on one machine; run them in turn.
"""

from __future__ import annotations

import statistics
import time

from tests.kit.handedge import HandEdge
from tests.kit.probes import HOST

EXCHANGES = 4000
TARGETS = 7  # in turn, so that no head is the one before it
AGENT = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
MORE = b"Accept: text/html\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef; theme=dark\r\n"
STAYS = b"Connection: keep-alive\r\n"
REQUESTS = {
    "GET, one field": b"GET /%%d HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST,
    "GET, a browser's": b"GET /%%d HTTP/1.1\r\nHost: %b\r\n%b%b%b\r\n" % (HOST, AGENT, MORE, STAYS),
    "POST by length": b"POST /%%d HTTP/1.1\r\nHost: %b\r\nContent-Length: 200\r\n\r\n" % HOST + bytes(200),
    "POST in a chunk": b"POST /%%d HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % HOST
    + b"64\r\n" + bytes(100) + b"\r\n0\r\n\r\n",
}  # fmt: skip
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"


def exchange_us(request: bytes) -> float:
    """The median of EXCHANGES exchanges, in microseconds."""
    world = HandEdge([(HOST.decode(), frozenset({"ticket"}))])
    visitor = world.visitor()
    heads = [request % number for number in range(TARGETS)]
    times = []
    for number in range(EXCHANGES):
        began = time.perf_counter()
        visitor.write(heads[number % TARGETS])
        world.reactor.settle()
        service = world.opener.streams[-1]
        service.incoming.clear()
        service.write(ANSWER)
        world.reactor.settle()
        times.append(time.perf_counter() - began)
        assert visitor.incoming.startswith(b"HTTP/1.1 200 ")
        visitor.incoming.clear()
    world.over()
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    for name, request in REQUESTS.items():
        print(f"{name}: {exchange_us(request):.1f} us")
