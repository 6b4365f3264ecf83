"""The exchanges of the transparency test: every kind of honest traffic that a tunnel must not change."""

# ruff: noqa: E501 - a table: one exchange, one line
from __future__ import annotations

import gzip
import random

from tests.kit.exchanges import (
    SERVICE_ENDS,
    SERVICE_SEES_THE_END,
    VISITOR_ENDS,
    VISITOR_SEES_THE_END,
    Case,
    serve,
    service_has,
    service_sees,
    simple,
    visit,
    visitor_has,
    visitor_sees,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BINARY = random.Random(4).randbytes(1_000_000)


def get(*lines: bytes, target: bytes = b"/", method: bytes = b"GET", body: bytes = b"", minor: int = 1) -> bytes:
    head = [b"%b %b HTTP/1.%d" % (method, target, minor), b"Host: HOST", *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def ok(*lines: bytes, status: bytes = b"200 OK", body: bytes = b"ok") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body), b"", body])


def chunks(data: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


# Header lines that pass as they are: names in any case, values in any bytes that are allowed.
_LINES = [
    b"accept: */*", b"ACCEPT: text/html", b"x-MiXeD-cAsE: Yes", b"X-Empty:", b"X-Empty: ", b"X-Spaces:   inner   spaces   kept",
    b"X-Tab: a\tb", b"X-Latin: caf\xe9", b"X-Utf8: caf\xc3\xa9 \xe2\x9c\x93", b"X-High: \x80\xff", b"X-Quote: \"a, b\"; c='d'",
    b"X-Colon: a:b::c", b"X-Percent: %00%0d%0a%2e", b"X-Long: " + b"v" * 8000, b"!#$%&'*+-.^`|~1: every token character",
    b"1: starts with a digit", b"Cookie: a=1; b=2; c=\"3\"", b"Cookie: " + b"k=v; " * 2000, b"Range: bytes=0-0,-1",
    b"Range: bytes=100-", b"If-None-Match: \"a\", W/\"b\"", b"If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
    b"Accept-Encoding: gzip, br, zstd;q=0.5, *;q=0", b"Referer: http://other.test/?a=b", b"Origin: null",
    b"User-Agent: Mozilla/5.0 (X11; Linux) \"odd\" <b>", b"Authorization: Bearer abc.def-_~+/=", b"Via: 1.1 other",
    b"X-Forward: not ours", b"X-Request-Id: 7", b"Date: not a date", b"Content-Type: multipart/form-data; boundary=\"--x\"",
    b"Sec-Fetch-Site: cross-site", b"Priority: u=1, i", b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Max-Forwards: 10", b"Pragma: no-cache", b"From: a@b.test", b"Upgrade-Insecure-Requests: 1", b"DNT: 1",
]  # fmt: skip
_TARGETS = [
    b"/", b"//", b"//a//b//", b"/a/../b", b"/./a", b"/a/.", b"/%2e%2e/%2f", b"/%", b"/%zz", b"/a%20b", b"/a+b", b"/?", b"/??", b"/?a=b&c=d",
    b"/?q=%E2%9C%93", b"/a;b=c;d", b"/a:b@c", b"/[a]", b"/{a}|b^c`", b"/a\\b", b"/\"quoted\"", b"/<a>", b"/~user", b"/*", b"/a?b?c", b"/?http://other.test/",
    b"/caf\xc3\xa9", b"/" + b"a" * 4000, b"/?" + b"b" * 8000, b"/a,b", b"/$&'()*+,;=", b"/%00", b"/%0d%0aX:%20y", b"/index.php/path/info",
]  # fmt: skip
_METHODS = [
    b"HEAD", b"OPTIONS", b"PATCH", b"PROPFIND", b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"QUERY",
    b"PURGE", b"get", b"Get", b"M-SEARCH", b"X", b"!#$%&'*+-.^_`|~09",
]  # fmt: skip
_STATUSES = [
    b"200 OK", b"200 ", b"200", b"200 Very  fine,  thanks", b"201 Created", b"202 Accepted", b"203 Non-Authoritative Information",
    b"206 Partial Content", b"207 Multi-Status", b"226 IM Used", b"300 Multiple Choices", b"301 Moved Permanently", b"302 Found",
    b"303 See Other", b"307 Temporary Redirect", b"308 Permanent Redirect", b"400 Bad Request", b"401 Unauthorized", b"402 Payment Required",
    b"403 Forbidden", b"404 Not Found", b"405 Method Not Allowed", b"406 Not Acceptable", b"408 Request Timeout", b"409 Conflict", b"410 Gone",
    b"411 Length Required", b"412 Precondition Failed", b"413 Content Too Large", b"416 Range Not Satisfiable", b"417 Expectation Failed",
    b"418 I'm a teapot", b"421 Misdirected Request", b"422 Unprocessable Content", b"425 Too Early", b"428 Precondition Required",
    b"429 Too Many Requests", b"451 Unavailable For Legal Reasons", b"499 \xe9trange", b"500 Internal Server Error", b"501 Not Implemented",
    b"502 Bad Gateway", b"503 Service Unavailable", b"504 Gateway Timeout", b"507 Insufficient Storage", b"599 Odd", b"999 Odder",
]  # fmt: skip
_ANSWER_LINES: list[tuple[bytes, ...]] = [
    (b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2; HttpOnly", b"SET-COOKIE: c=3; Domain=.test"), (b"X-A: 1", b"x-a: 2", b"X-B: 3", b"X-A: 4"),
    (b"ETag: W/\"a\"", b"Last-Modified: Sat, 29 Oct 1994 19:43:31 GMT", b"Cache-Control: max-age=0, no-store"), (b"Vary: *", b"Age: 0"),
    (b"Content-Range: bytes 0-1/10", b"Accept-Ranges: bytes"), (b"Location: /a?b#c",), (b"Location: http://127.0.0.1:1/",),
    (b"WWW-Authenticate: Basic realm=\"a, b\", Digest nonce=\"x\"",), (b"Content-Security-Policy: default-src 'self'; report-uri /x",),
    (b"Strict-Transport-Security: max-age=1",), (b"Alt-Svc: h3=\":443\"",), (b"Link: </a>; rel=preload, </b>; rel=\"next\"",),
    (b"Server: odd/1.0 (\xe9)", b"X-Powered-By:"), (b"X_Under_Score: kept in answers",), (b"Content-Type: text/html; charset=latin-1",),
    (b"Content-Disposition: attachment; filename*=UTF-8''%e2%82%ac", b"Content-Language: de"), (b"Retry-After: 120",), (b"Refresh: 0; url=/x",),
    (b"Set-Cookie: " + b"x" * 16000,), tuple(b"X-Many-%d: %d" % (number, number) for number in range(150)),
    (b"Access-Control-Allow-Origin: *", b"Timing-Allow-Origin: *"), (b"Via: 1.0 fred", b"Warning: 110 - \"stale\""), (b"X-Forwarded-For: 10.0.0.1",),
]  # fmt: skip


def _heads() -> list[Case]:
    cases = [simple(f"request field {line[:40]!r}", get(line), OK) for line in _LINES]
    cases += [
        simple("fields in their order", get(*(b"X-%d: %d" % (number % 7, number) for number in range(100))), OK),
        simple("the same name four times", get(b"A: 1", b"a: 2", b"B: 0", b"A: ", b"A: 1"), OK),
        simple("Host in the middle", b"GET / HTTP/1.1\r\nA: 1\r\nhOsT: HOST\r\nB: 2\r\n\r\n", OK),
        simple("a forged X-Forwarded-For goes", get(b"X-Forwarded-For: 6.6.6.6"), OK),
        simple("TE: trailers stays", get(b"Connection: TE", b"TE: trailers"), OK),
        simple("TE: gzip goes", get(b"TE: gzip", b"A: 1"), OK, also=frozenset({b"te"})),
        simple("a field that Connection lists goes", get(b"Connection: X-Hop", b"X-Hop: 1"), OK, also=frozenset({b"x-hop"})),
        simple("Connection: close", get(b"Connection: close"), ok(b"Connection: close"), close=True),
        simple("Connection: keep-alive", get(b"Connection: keep-alive"), ok(b"Connection: keep-alive", b"Keep-Alive: timeout=5")),
    ]  # fmt: skip
    cases += [simple(f"target {target[:40]!r}", get(target=target), OK) for target in _TARGETS]
    cases += [
        simple(f"method {method!r}", get(method=method), ok(body=b"") if method == b"HEAD" else OK)
        for method in _METHODS
    ]
    cases.append(simple("OPTIONS *", get(method=b"OPTIONS", target=b"*"), OK))
    cases += [simple(f"status {status!r}", GET, ok(status=status)) for status in _STATUSES]
    cases += [simple(f"answer fields {lines[0][:30]!r}", GET, ok(*lines)) for lines in _ANSWER_LINES]
    return cases


def _bodies() -> list[Case]:
    def post(body: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
        return get(b"Content-Length: %d" % len(body), *lines, method=method, body=body)

    sent = b"Transfer-Encoding: chunked"
    cases = [
        simple(f"a body of {size}", post(BINARY[:size]), OK) for size in (0, 1, 2, 1000, 65536, 300_000, 1_000_000)
    ]
    cases += [
        simple(f"{method!r} with a body", post(b"body", method=method), OK)
        for method in (b"GET", b"DELETE", b"PUT", b"QUERY")
    ]
    cases += [
        simple(f"chunks of {size}", get(sent, method=b"POST", body=chunks(BINARY[: size * 9 + 1], size)), OK)
        for size in (1, 10, 4096, 70_000)
    ]
    cases += [
        simple("no chunk at all", get(sent, method=b"POST", body=b"0\r\n\r\n"), OK),
        simple("chunk extensions", get(sent, method=b"POST", body=b"3;a=b;c=\"d\"\r\nabc\r\n0;last\r\n\r\n"), OK),
        simple("zeros before a size", get(sent, method=b"POST", body=b"0003\r\nabc\r\n000\r\n\r\n"), OK),
        simple("trailers of a request", get(sent, b"Trailer: X-Sum", method=b"POST", body=chunks(b"abc", 1, b"0\r\nX-Sum: 1\r\nx-B: \xe9\r\n\r\n")), OK),
        simple("a gzipped request", post(gzip.compress(b"a" * 10_000), b"Content-Encoding: gzip"), OK),
        simple("what looks like a request in a body", post(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"), OK),
    ]  # fmt: skip
    for size in (0, 1, 1000, 65536, 1_000_000):
        data = BINARY[:size]
        cases.append(simple(f"an answer of {size}", GET, ok(body=data)))
        cases.append(simple(f"an answer of {size} in chunks", GET, CHUNKED + chunks(data, 8191)))
        cases.append(simple(f"an answer of {size} until close", GET, b"HTTP/1.1 200 OK\r\n\r\n" + data, close=True))
        cases.append(
            simple(f"an answer of {size} by HTTP/1.0", GET, b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n" + data, close=True)
        )
    cases += [
        simple("trailers of an answer", GET, CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n"),
        simple("chunk extensions of an answer", GET, CHUNKED + b"3;a=b\r\nabc\r\n0;c\r\n\r\n"),
        simple("gzip", GET, ok(b"Content-Encoding: gzip", body=gzip.compress(b"a" * 100_000))),
        simple("broken gzip", GET, ok(b"Content-Encoding: gzip", body=b"\x1f\x8bnot gzip at all")),
        simple("gzip in chunks", get(b"Accept-Encoding: gzip"), b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(gzip.compress(BINARY[:10_000]), 999)),
        simple("a range", get(b"Range: bytes=2-4"), ok(b"Content-Range: bytes 2-4/10", status=b"206 Partial Content", body=b"234")),
        simple("several ranges", get(b"Range: bytes=0-0,2-2"), ok(b"Content-Type: multipart/byteranges; boundary=x", status=b"206 Partial Content", body=b"--x\r\n\r\n0\r\n--x--\r\n")),
        simple("what looks like an answer in a body", GET, ok(body=OK + OK)),
        simple("a keep-alive answer by HTTP/1.0", GET, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    ]  # fmt: skip
    for lines in (
        b"Content-Length: 1000\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b'ETag: "a"\r\nContent-Type: x/y\r\n',
        b"",
    ):
        cases.append(simple(f"HEAD with {lines!r}", get(method=b"HEAD"), b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"))
        cases.append(simple(f"304 with {lines!r}", GET, b"HTTP/1.1 304 Not Modified\r\n" + lines + b"\r\n"))
    cases.append(simple("204", GET, b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"))
    cases.append(simple("205", GET, ok(status=b"205 Reset Content", body=b"")))
    cases.append(simple("HEAD with 404", get(method=b"HEAD"), b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"))
    return cases


def _old() -> list[Case]:
    def old(*lines: bytes, body: bytes = b"", method: bytes = b"GET") -> bytes:
        return get(*lines, minor=0, body=body, method=method)

    return [
        simple("HTTP/1.0", old(), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", close=True),
        simple("HTTP/1.0 until close", old(), b"HTTP/1.0 200 OK\r\n\r\nall of it", close=True),
        simple("HTTP/1.0 answered by 1.1", old(), ok(b"Connection: close"), close=True),
        simple("HTTP/1.0 with a body", old(b"Content-Length: 3", body=b"abc", method=b"POST"), b"HTTP/1.0 200 OK\r\n\r\n", close=True),
        simple("HTTP/1.0 HEAD", old(method=b"HEAD"), b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", close=True),
        Case("HTTP/1.0 keep-alive", (
            visit(old(b"Connection: keep-alive")), service_has(), serve(ok(b"Connection: keep-alive")), visitor_has(),
            visit(old(b"Connection: keep-alive")), service_has(2), serve(ok(b"Connection: keep-alive")), visitor_has(2),
        )),
    ]  # fmt: skip


def _timing() -> list[Case]:
    """What must arrive while something else has not happened yet: each `sees` waits for what was just sent."""
    expecting = get(b"Expect: 100-continue", b"Content-Length: 4", method=b"POST")
    upload = get(b"Content-Length: 1000", method=b"POST")
    early = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!"
    upgrade = get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAA")
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n"
    events = [b"data: %d\n\n" % number for number in range(6)]
    return [
        Case("events, each at once", (
            visit(get(b"Accept: text/event-stream")), service_has(), serve(CHUNKED), visitor_sees(b"\r\n\r\n"),
            *(step for event in events for step in (serve(b"%x\r\n%b\r\n" % (len(event), event)), visitor_sees(event))),
            serve(b"0\r\n\r\n"), visitor_has(),
        )),
        Case("a token stream until close, a byte at a time", (
            visit(GET), service_has(), serve(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"), visitor_sees(b"\r\n\r\n"),
            *(step for token in (b"to", b"k", b"ens!") for step in (serve(token), visitor_sees(token))), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("the first byte while the length is still long", (
            visit(GET), service_has(), serve(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"), visitor_sees(b"\r\n\r\na"), serve(b"b"),
            visitor_sees(b"ab"), serve(b"c"), visitor_has(),
        )),
        Case("a head in pieces", (
            visit(b"GET / HT"), visit(b"TP/1.1\r\nHost: HO" b"ST\r\nA:"), visit(b" b\r\n\r"), visit(b"\n"), service_has(),
            *(serve(OK[at : at + 1]) for at in range(len(OK))), visitor_has(),
        )),
        Case("an upload, each piece at once", (
            visit(get(b"Transfer-Encoding: chunked", method=b"POST")), service_sees(b"\r\n\r\n"), visit(b"3\r\nabc\r\n"), service_sees(b"abc"),
            visit(b"3\r\nde"), service_sees(b"de"), visit(b"f\r\n0\r\n\r\n"), service_has(), serve(OK), visitor_has(),
        )),
        Case("both ways at once", (
            visit(get(b"Transfer-Encoding: chunked", method=b"POST")), service_sees(b"\r\n\r\n"), serve(CHUNKED), visitor_sees(b"\r\n\r\n"),
            visit(b"1\r\na\r\n"), service_sees(b"1\r\na\r\n"), serve(b"1\r\nA\r\n"), visitor_sees(b"1\r\nA\r\n"),
            visit(b"0\r\n\r\n"), service_has(), serve(b"0\r\n\r\n"), visitor_has(),
        )),
        Case("100 is the service's", (
            visit(expecting), service_sees(b"\r\n\r\n"), serve(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"), visitor_sees(b"X: y\r\n\r\n"),
            visit(b"body"), service_has(), serve(OK), visitor_has(),
        )),
        Case("no 100, a refusal", (
            visit(expecting), service_sees(b"\r\n\r\n"), serve(early), visitor_has(), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("100 is not waited for", (
            visit(expecting + b"body"), service_has(), serve(OK), visitor_has(),
        )),
        Case("an early answer to an upload", (
            visit(upload + b"x" * 10), service_sees(b"x" * 10), serve(early), visitor_has(), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("103, then the answer", (
            visit(GET), service_has(), serve(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), visitor_sees(b"</a>\r\n\r\n"), serve(OK), visitor_has(),
        )),
        Case("three interim answers", (
            visit(GET), service_has(), serve(b"HTTP/1.1 102 Processing\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2),
            visitor_sees(b"</a>\r\n\r\n"), serve(OK), visitor_has(),
        )),
        Case("keep-alive", tuple(
            step for number in range(1, 6)
            for step in (visit(get(target=b"/%d" % number)), service_has(number), serve(ok(body=b"%d" % number)), visitor_has(number))
        )),
        Case("keep-alive with mixed framings", (
            visit(get(b"Transfer-Encoding: chunked", method=b"POST", body=b"1\r\na\r\n0\r\n\r\n")), service_has(), serve(CHUNKED + b"0\r\n\r\n"), visitor_has(),
            visit(get(method=b"HEAD")), service_has(2), serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), visitor_has(2),
            visit(get(b"Content-Length: 2", method=b"PUT", body=b"hi")), service_has(3), serve(b"HTTP/1.1 204 No Content\r\n\r\n"), visitor_has(3),
        )),
        Case("a half-closed visitor", (visit(GET), VISITOR_ENDS, service_has(), SERVICE_SEES_THE_END, serve(ok(b"Connection: close")), SERVICE_ENDS, VISITOR_SEES_THE_END)),
        Case("a half-closed visitor with a body", (
            visit(get(b"Content-Length: 2", method=b"POST", body=b"hi")), VISITOR_ENDS, service_has(), SERVICE_SEES_THE_END,
            serve(b"HTTP/1.1 200 OK\r\n\r\nall"), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("an upgrade, raw both ways", (
            visit(upgrade), service_has(), serve(switch), visitor_sees(b"X: y\r\n\r\n"), visit(b"\x00\xff raw"), service_sees(b"\x00\xff raw"),
            serve(b"HTTP/1.1 not parsed\r\n\r\n"), visitor_sees(b"not parsed"), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("an upgrade, then the visitor half-closes", (
            visit(upgrade), service_has(), serve(switch + b"hello"), visitor_sees(b"hello"), visit(b"bye"), VISITOR_ENDS, SERVICE_SEES_THE_END,
            serve(b"late words"), visitor_sees(b"late words"), SERVICE_ENDS, VISITOR_SEES_THE_END,
        )),
        Case("an upgrade that is refused", (visit(upgrade), service_has(), serve(ok(status=b"400 No")), visitor_has())),
    ]  # fmt: skip


def table() -> list[Case]:
    """All of them, each with a name of its own."""
    return [*_heads(), *_bodies(), *_old(), *_timing()]
