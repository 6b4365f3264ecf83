"""Hypothesis strategies for heads and chunked bodies that are nearly right: good pieces, mutated and put together."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.kit.hostile_heads import REFUSED_REQUESTS, REFUSED_RESPONSES, STRANGE_REQUESTS, STRANGE_RESPONSES

FIELDS = [
    *(b"Host: a.test", b"host: b.test:80", b"Host: [::1]:80", b"Host:", b"Accept: */*", b"X-A:  b\t", b"x_y: z"),
    *(b"Content-Length: 5", b"content-length: 0", b"Content-Length: 05", b"Content-Length: 5, 5", b"Content-Length: -1"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked ", b"Transfer-Encoding: gzip", b"TE: trailers"),
    *(b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"connection: te, x-a, CLOSE"),
    *(b"Connection: a,,b", b"Trailer: a"),
    *(b"Upgrade: websocket", b"Upgrade: h2c, websocket", b"Expect: 100-continue", b"Keep-Alive: timeout=5"),
    *(b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=6.6.6.6", b"X_Forwarded_For: 6.6.6.6", b"X-Real-IP: 6.6.6.6"),
    *(b"Authorization: Basic YTpi", b"Cookie: a=\xe4", b"A: b\r\n c", b"A : b", b"A: \x01", b": b", b"A: b\nC: d"),
    *(b"Proxy-Connection: x", b"Proxy-Authorization: x", b"HTTP2-Settings: AA"),
]  # fmt: skip
REQUEST_LINES = [
    *(b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"GET / HTTP/1.0", b"OPTIONS * HTTP/1.1", b"GET http://a.test/x HTTP/1.1"),
    *(b"GET http://b.test HTTP/1.0", b"GET  / HTTP/1.1", b"GET /\xc3\xa4 HTTP/1.1", b"HEAD /#a HTTP/1.1", b"x / HTTP/1.2"),
]  # fmt: skip
STATUS_LINES = [
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 Not", b"HTTP/1.1 100 C"),
    *(b"HTTP/1.1 101 S", b"HTTP/1.1 999 x", b"HTTP/1.1 099 x", b"HTTP/1.2 200 OK", b"HTTP/1.1 200  \xe4"),
]  # fmt: skip
NOISE = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"_",
    b"\xff",
    b"\x7f",
    b"\x0b",
    b"#",
    b"0",
    b"\r\n\r\n",
]


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """One of the originals with up to three pieces of noise put in or over it, or bytes taken out."""
    raw = draw(originals)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        noise = draw(st.sampled_from(NOISE) | st.binary(min_size=0, max_size=2))
        raw = raw[:at] + noise + raw[at + draw(st.integers(0, 2)) :]
    return raw


def _put_together(lines: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda first, fields: b"\r\n".join([first, *fields, b"", b""]),
        st.sampled_from(lines),
        st.lists(st.sampled_from(FIELDS), max_size=8),
    )


def requests() -> st.SearchStrategy[bytes]:
    """Request heads, most of them good."""
    table = [raw for raw, _ in STRANGE_REQUESTS.values()] + [raw for _, raw in REFUSED_REQUESTS.values()]
    good = st.builds(
        lambda first, fields: b"\r\n".join([first, b"Host: a.test", *fields, b"", b""]),
        st.sampled_from(REQUEST_LINES),
        st.lists(st.sampled_from([line for line in FIELDS if not line.lower().startswith(b"host")]), max_size=6),
    )
    return good | mutated(_put_together(REQUEST_LINES)) | mutated(good) | mutated(st.sampled_from(table))


def responses() -> st.SearchStrategy[bytes]:
    """Response heads, most of them good."""
    table = [raw for raw, _ in STRANGE_RESPONSES.values()] + list(REFUSED_RESPONSES.values())
    return _put_together(STATUS_LINES) | mutated(_put_together(STATUS_LINES)) | mutated(st.sampled_from(table))


CHUNK_LINES = [
    *(b"5\r\nhello\r\n", b"1\r\nx\r\n", b"A\r\n0123456789\r\n", b"a;b\r\n0123456789\r\n", b'3;a=b;c="d\\"e"\r\nabc\r\n'),
    *(b"003\r\nabc\r\n", b"5 \r\nhello\r\n", b"5\nhello\n", b"0x5\r\nhello\r\n", b"5;\r\nhello\r\n", b"5\r\nhell\r\n", b"-1\r\n"),
]  # fmt: skip
TRAILERS = [
    b"",
    b"",
    b"A: b\r\n",
    b"Grpc-Status: 0\r\nX: y\r\n",
    b"Content-Length: 5\r\n",
    b"A : b\r\n",
    b"A: b\r\n c\r\n",
]


def chunked_bodies() -> st.SearchStrategy[bytes]:
    """Chunked bodies with something behind them, most of them good."""
    whole = st.builds(
        lambda chunks, trailers, after: b"".join(chunks) + b"0\r\n" + trailers + b"\r\n" + after,
        st.lists(st.sampled_from(CHUNK_LINES[:6]) | st.sampled_from(CHUNK_LINES[:5]), max_size=5),
        st.sampled_from(TRAILERS),
        st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"\r\n"]),
    )
    bad = st.builds(
        lambda chunks: b"".join(chunks) + b"0\r\n\r\n", st.lists(st.sampled_from(CHUNK_LINES), min_size=1, max_size=4)
    )
    return whole | mutated(whole) | mutated(bad)
