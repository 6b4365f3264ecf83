"""Request and response heads that must be refused, and strange ones that must not be: shapes known from smuggling lists,
parser test suites and advisories, written down by hand.

Each entry of a refused table is name -> (status, bytes). `STRANGE` is name -> (bytes, expected attributes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CRLF = b"\r\n"
HOST = b"Host: a.test\r\n"


def head(*lines: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return first + CRLF + host + b"".join(line + CRLF for line in lines) + CRLF


def post(*lines: bytes) -> bytes:
    return head(*lines, first=b"POST / HTTP/1.1")


def _lines() -> dict[str, bytes]:
    """Request lines; each stands before a good Host."""
    return {
        "empty line twice": b"\r\n\r\nGET / HTTP/1.1",
        "leading space": b" GET / HTTP/1.1",
        "leading tab": b"\tGET / HTTP/1.1",
        "leading NUL": b"\x00GET / HTTP/1.1",
        "leading LF": b"\nGET / HTTP/1.1",
        "leading CR": b"\rGET / HTTP/1.1",
        "http 0.9": b"GET /",
        "no target": b"GET HTTP/1.1",
        "empty target": b"GET  HTTP/1.1",
        "two spaces before target": b"GET  / HTTP/1.1",
        "two spaces before version": b"GET /  HTTP/1.1",
        "tab before target": b"GET\t/ HTTP/1.1",
        "tab before version": b"GET /\tHTTP/1.1",
        "vertical tab": b"GET\x0b/ HTTP/1.1",
        "form feed": b"GET /\x0cHTTP/1.1",
        "no-break space": b"GET /\xa0HTTP/1.1",
        "trailing space": b"GET / HTTP/1.1 ",
        "trailing tab": b"GET / HTTP/1.1\t",
        "fourth word": b"GET / HTTP/1.1 x",
        "space in target": b"GET /a b HTTP/1.1",
        "bare CR in target": b"GET /a\rb HTTP/1.1",
        "bare LF in target": b"GET /a\nb HTTP/1.1",
        "NUL in target": b"GET /a\x00b HTTP/1.1",
        "tab in target": b"GET /a\tb HTTP/1.1",
        "DEL in target": b"GET /a\x7fb HTTP/1.1",
        "escape in target": b"GET /\x1b[2J HTTP/1.1",
        "fragment": b"GET /a#b HTTP/1.1",
        "latin-1 in target": b"GET /caf\xe9 HTTP/1.1",
        "overlong UTF-8": b"GET /\xc0\xaf HTTP/1.1",
        "surrogate in UTF-8": b"GET /\xed\xa0\x80 HTTP/1.1",
        "relative target": b"GET index.html HTTP/1.1",
        "query only": b"GET ?a=b HTTP/1.1",
        "backslash target": b"GET \\a HTTP/1.1",
        "asterisk for GET": b"GET * HTTP/1.1",
        "asterisk with more": b"OPTIONS *a HTTP/1.1",
        "authority-form for GET": b"GET a.test:80 HTTP/1.1",
        "ftp target": b"GET ftp://a.test/ HTTP/1.1",
        "javascript target": b"GET javascript:1 HTTP/1.1",
        "no host in absolute": b"GET http:/// HTTP/1.1",
        "one slash in absolute": b"GET http:/a.test/ HTTP/1.1",
        "other host in absolute": b"GET http://b.test/ HTTP/1.1",
        "other port in absolute": b"GET http://a.test:81/ HTTP/1.1",
        "other default port in absolute": b"GET https://a.test:80/ HTTP/1.1",
        "userinfo in absolute": b"GET http://u@a.test/ HTTP/1.1",
        "userinfo names our host": b"GET http://a.test@b.test/ HTTP/1.1",
        "backslash in authority": b"GET http://a.test\\@b.test/ HTTP/1.1",
        "bad port in absolute": b"GET http://a.test:99999/ HTTP/1.1",
        "method with colon": b"GE:T / HTTP/1.1",
        "method with slash": b"GE/T / HTTP/1.1",
        "method in brackets": b"(GET) / HTTP/1.1",
        "method in quotes": b'"GET" / HTTP/1.1',
        "method with NUL": b"GE\x00T / HTTP/1.1",
        "method with umlaut": b"G\xcbT / HTTP/1.1",
        "empty method": b" / HTTP/1.1",
        "version lower case": b"GET / http/1.1",
        "version mixed case": b"GET / Http/1.1",
        "version 0.9": b"GET / HTTP/0.9",
        "version 1.2": b"GET / HTTP/1.2",
        "version 1.9": b"GET / HTTP/1.9",
        "version 2.0": b"GET / HTTP/2.0",
        "version 3.0": b"GET / HTTP/3.0",
        "version 11": b"GET / HTTP/11",
        "version 1.10": b"GET / HTTP/1.10",
        "version 01.1": b"GET / HTTP/01.1",
        "version 1": b"GET / HTTP/1",
        "version 1.": b"GET / HTTP/1.",
        "version .1": b"GET / HTTP/.1",
        "version 1,1": b"GET / HTTP/1,1",
        "version -1.1": b"GET / HTTP/-1.1",
        "version 1.1x": b"GET / HTTP/1.1x",
        "version with space": b"GET / HTTP/ 1.1",
        "version without slash": b"GET / HTTP1.1",
        "other protocol": b"GET / RTSP/1.0",
        "ICE protocol": b"SOURCE / ICE/1.0",
        "http2 preface": b"PRI * HTTP/2.0",
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "SOCKS": b"\x05\x01\x00",
        "SSH": b"SSH-2.0-OpenSSH_9.2",
        "PROXY v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2",
        "only CR": b"\r",
    }


def _fields() -> dict[str, bytes]:
    """Field lines (one or several), each after a good Host."""
    return {
        "space before colon": b"A : b",
        "tab before colon": b"A\t: b",
        "space before colon of framing": b"Content-Length : 5",
        "empty name": b": b",
        "only a colon": b":",
        "no colon": b"Abc",
        "space in name": b"A b: c",
        "leading space": b" A: b",
        "obs-fold": b"A: b\r\n c",
        "obs-fold with tab": b"A: b\r\n\tc",
        "obs-fold of nothing": b"A:\r\n ",
        "bare LF in value": b"A: b\nc: d",
        "bare CR in value": b"A: b\rc: d",
        "CR before CRLF": b"A: b\r",
        "NUL in value": b"A: b\x00c",
        "NUL in name": b"A\x00: b",
        "SOH in value": b"A: \x01",
        "BEL in value": b"A: \x07",
        "backspace in value": b"A: \x08",
        "vertical tab in value": b"A: b\x0bc",
        "form feed in value": b"A: b\x0cc",
        "escape in value": b"A: \x1b[31m",
        "unit separator in value": b"A: \x1f",
        "DEL in value": b"A: \x7f",
        "high byte in name": b"\xc3\xa4: b",
        "no-break space in name": b"A\xa0: b",
        "brackets in name": b"A(b): c",
        "at sign in name": b"A@b: c",
        "slash in name": b"A/b: c",
        "quote in name": b'"A": b',
        "comma in name": b"A,b: c",
        "semicolon in name": b"A;b: c",
        "equals in name": b"A=b: c",
        "question mark in name": b"A?: c",
        "braces in name": b"{A}: c",
        "backslash in name": b"A\\b: c",
        "second request line": b"GET /b HTTP/1.1",
        "LF as the end": b"A: b\n",
        "LF before the end": b"\nA: b",
    }


def _framing() -> dict[str, bytes]:
    cl, te = b"Content-Length: ", b"Transfer-Encoding: "
    return {
        "length signed plus": cl + b"+5",
        "length signed minus": cl + b"-5",
        "length minus zero": cl + b"-0",
        "length empty": cl,
        "length only spaces": cl + b"   ",
        "length padded": cl + b"005",
        "length padded zero": cl + b"00",
        "length hex": cl + b"0x5",
        "length hex digits": cl + b"a",
        "length decimal point": cl + b"5.0",
        "length exponent": cl + b"5e0",
        "length underscore": cl + b"1_0",
        "length with space inside": cl + b"1 0",
        "length with tab inside": cl + b"1\t0",
        "length listed equal": cl + b"5, 5",
        "length listed": cl + b"5, 6",
        "length with comma": cl + b"5,",
        "length with semicolon": cl + b"5;",
        "length quoted": cl + b'"5"',
        "length 2**63": cl + b"9223372036854775808",
        "length 2**64": cl + b"18446744073709551616",
        "length 2**64+5": cl + b"18446744073709551621",
        "length 19 digits": cl + b"1" * 19,
        "length 1000 digits": cl + b"9" * 1000,
        "length arabic digits": cl + "٥".encode(),
        "length superscript": cl + b"\xb2",
        "length word": cl + b"chunked",
        "length twice equal": cl + b"5\r\n" + cl + b"5",
        "length twice": cl + b"5\r\n" + cl + b"6",
        "length twice other case": cl + b"5\r\ncontent-length: 6",
        "length twice, first empty": cl + b"\r\n" + cl + b"5",
        "length apart": cl + b"5\r\nA: b\r\n" + cl + b"5",
        "length and coding": cl + b"5\r\n" + te + b"chunked",
        "coding and length": te + b"chunked\r\n" + cl + b"5",
        "length 0 and coding": cl + b"0\r\n" + te + b"chunked",
        "coding and length apart": te + b"chunked\r\nA: b\r\n" + cl + b"0",
        "coding identity": te + b"identity",
        "coding gzip": te + b"gzip",
        "coding gzip, chunked": te + b"gzip, chunked",
        "coding chunked, gzip": te + b"chunked, gzip",
        "coding chunked, identity": te + b"chunked, identity",
        "coding chunked twice": te + b"chunked, chunked",
        "coding in two fields": te + b"chunked\r\n" + te + b"chunked",
        "coding identity and chunked": te + b"identity\r\n" + te + b"chunked",
        "coding chunked and x": te + b"chunked\r\n" + te + b"x",
        "coding empty": te,
        "coding empty and chunked": te + b"\r\n" + te + b"chunked",
        "coding with comma": te + b",chunked",
        "coding with trailing comma": te + b"chunked,",
        "coding xchunked": te + b"xchunked",
        "coding chunkedx": te + b"chunkedx",
        "coding x chunked": te + b"x chunked",
        "coding chunked x": te + b"chunked x",
        "coding with parameter": te + b"chunked;a=b",
        "coding quoted": te + b'"chunked"',
        "coding single quotes": te + b"'chunked'",
        "coding vertical tab": te + b"\x0bchunked",
        "coding form feed": te + b"chunked\x0c",
        "coding no-break space": te + b"\xa0chunked",
        "coding NUL": te + b"chunked\x00",
        "coding bare CR": te + b"\rchunked",
        "coding folded": te.rstrip() + b"\r\n chunked",
        "coding kelvin sign": te + "chun\u212aed".encode(),
        "coding name with space": b"Transfer-Encoding : chunked",
        "coding name with tab": b"Transfer-Encoding\t: chunked",
        "coding name folded": b"Transfer-Encoding\r\n : chunked",
        "coding name after space": b" Transfer-Encoding: chunked",
        "coding name with LF": b"A: b\nTransfer-Encoding: chunked",
        "coding name with CR": b"A: b\rTransfer-Encoding: chunked",
        "coding underscore": b"Transfer_Encoding: chunked",
        "coding dot": b"Transfer.Encoding: chunked",
        "length underscore name": b"Content_Length: 5",
        "length mixed underscore": b"cOnTeNt_LeNgTh: 5",
    }


def _shadows() -> dict[str, bytes]:
    names = [
        *(b"X_Forwarded_For", b"X_Forwarded-For", b"x_forwarded_proto", b"X-Forwarded_Host", b"X_Forwarded_Port"),
        *(b"X_Forwarded_Server", b"X_Forwarded_Prefix", b"X.Forwarded.For", b"X~Forwarded~For", b"X_Real_IP"),
        *(b"X_Forwarded", b"X-Real_IP", b"Proxy_Connection", b"Keep_Alive", b"HTTP2_Settings", b"X!Real!IP"),
    ]
    return {f"shadow {name.decode()}": name + b": 1" for name in names}


def _hosts() -> dict[str, bytes]:
    """Host values."""
    return {
        "empty": b"",
        "spaces": b"  ",
        "space inside": b"a b",
        "tab inside": b"a\tb",
        "list": b"a.test,b.test",
        "list with space": b"a.test, b.test",
        "userinfo": b"u@a.test",
        "userinfo with password": b"u:p@a.test",
        "url": b"http://a.test",
        "path": b"a.test/",
        "path with name": b"a.test/b",
        "query": b"a.test?b",
        "fragment": b"a.test#b",
        "backslash": b"a.test\\b",
        "percent": b"a%2etest",
        "percent NUL": b"a%00.test",
        "NUL": b"a\x00.test",
        "utf-8": "ä.test".encode(),
        "latin-1": b"\xe4.test",
        "ideographic full stop": "a。test".encode(),
        "fullwidth full stop": "a．test".encode(),
        "zero width": "a\u200b.test".encode(),
        "empty port": b"a.test:",
        "port 0": b"a.test:0",
        "port 00080": b"a.test:000080",
        "port 65536": b"a.test:65536",
        "port 99999": b"a.test:99999",
        "port long": b"a.test:" + b"1" * 40,
        "port word": b"a.test:http",
        "port signed": b"a.test:+80",
        "port minus": b"a.test:-80",
        "port padded": b"a.test: 80",
        "two ports": b"a.test:80:80",
        "only port": b":80",
        "leading dot": b".a.test",
        "two dots": b"a..test",
        "two dots at the end": b"a.test..",
        "only dot": b".",
        "label of 64": b"a" * 64 + b".test",
        "name of 254": b".".join([b"a" * 49] * 5) + b".abcd",
        "name of 16000": b"a." * 8000 + b"a",
        "bare ipv6": b"::1",
        "bare ipv6 with port": b"2001:db8::1:80",
        "open bracket": b"[::1",
        "close bracket": b"::1]",
        "brackets around name": b"[a.test]",
        "empty brackets": b"[]",
        "ipv6 zone": b"[fe80::1%25eth0]",
        "ipv6 future": b"[v1.a]",
        "ipv6 too long": b"[" + b"1:" * 8 + b"1]",
        "ipv6 two colons twice": b"[1::2::3]",
        "after brackets": b"[::1]a",
        "exclamation": b"a!.test",
        "asterisk": b"*.test",
        "quotes": b'"a.test"',
        "brackets": b"<a.test>",
        "parentheses": b"(a.test)",
        "semicolon": b"a.test;b",
        "equals": b"a=b",
        "ampersand": b"a&b",
        "tilde": b"~a.test",
        "escape": b"\x1b[0m",
        "DEL": b"a\x7f.test",
    }


def _refused() -> dict[str, tuple[int, bytes]]:
    table: dict[str, tuple[int, bytes]] = {}
    table |= {f"line: {name}": (400, head(first=first)) for name, first in _lines().items()}
    table |= {f"field: {name}": (400, head(line)) for name, line in _fields().items()}
    table |= {f"field first: {name}": (400, head(line, host=b"") + b"") for name, line in _fields().items()}
    table |= {f"framing: {name}": (400, post(line)) for name, line in _framing().items()}
    table |= {f"framing of GET: {name}": (400, head(line)) for name, line in _framing().items()}
    table |= {name: (400, head(line)) for name, line in _shadows().items()}
    table |= {f"host: {name}": (400, head(host=b"Host: " + value + CRLF)) for name, value in _hosts().items()}
    one_zero = b"POST / HTTP/1.0"
    table |= {
        "no host": (400, head(host=b"")),
        "two hosts": (400, head(HOST[:-2])),
        "two hosts apart": (400, head(b"A: b", b"Host: b.test")),
        "two hosts other case": (400, head(b"hOsT: a.test")),
        "two hosts in 1.0": (400, head(b"Host: b.test", first=b"GET / HTTP/1.0")),
        "host folded": (400, head(host=b"Host:\r\n a.test\r\n")),
        "host with space before colon": (400, head(host=b"Host : a.test\r\n")),
        "host with underscore beside": (400, head(b"Host_: a", b"host: b")),
        "absolute without host": (400, head(first=b"GET http://a.test/ HTTP/1.1", host=b"")),
        "coding in 1.0": (400, head(b"Transfer-Encoding: chunked", first=one_zero)),
        "coding in 1.0 with keep-alive": (
            400,
            head(b"Connection: keep-alive", b"Transfer-Encoding: chunked", first=one_zero),
        ),
        "two authorizations": (400, head(b"Authorization: Basic YTpi", b"authorization: Basic YTpj")),
        "expect something": (417, post(b"Expect: cake", b"Content-Length: 5")),
        "expect twice": (417, post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5")),
        "expect more": (417, post(b"Expect: 100-continue, x", b"Content-Length: 5")),
        "connect": (501, head(first=b"CONNECT a.test:443 HTTP/1.1", host=b"Host: a.test:443\r\n")),
        "connect origin-form": (501, head(first=b"CONNECT / HTTP/1.1")),
        "trace": (501, head(first=b"TRACE / HTTP/1.1")),
        "trace with length": (501, head(b"Content-Length: 5", first=b"TRACE / HTTP/1.1")),
        "nothing": (400, b""),
        "only an empty line": (400, CRLF + CRLF),
        "no fields and no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
        "line ends are LF": (400, head().replace(CRLF, b"\n")),
        "line ends are CR": (400, head().replace(CRLF, b"\r")),
        "line ends are LFCR": (400, head().replace(CRLF, b"\n\r")),
        "only the first is LF": (400, head().replace(CRLF, b"\n", 1)),
        "the empty line is LF": (400, head()[:-2] + b"\n"),
        "cut before the end": (400, head()[:-1]),
        "cut within a field": (400, head()[:-5]),
        "more behind the end": (400, head() + b"x"),
        "another head behind": (400, head() + head()),
    }
    return table


REFUSED_REQUESTS: Final[Mapping[str, tuple[int, bytes]]] = _refused()

Expected = dict[str, object]
STRANGE_REQUESTS: Final[Mapping[str, tuple[bytes, Expected]]] = {
    "leading CRLF": (CRLF + head(), {"method": b"GET", "target": b"/"}),
    "unknown method": (head(first=b"PROPFIND /x HTTP/1.1"), {"method": b"PROPFIND"}),
    "lower case method": (head(first=b"get / HTTP/1.1"), {"method": b"get"}),
    "punctuation in method": (head(first=b"!#$%&'*+-.^_`|~ / HTTP/1.1"), {"method": b"!#$%&'*+-.^_`|~"}),
    "options *": (head(first=b"OPTIONS * HTTP/1.1"), {"target": b"*"}),
    "path as received": (
        head(first=b'GET //a/../b/./%2e%2F%zz;p?a=b&c[]=|^`{}"<>\\ HTTP/1.1'),
        {"target": b'//a/../b/./%2e%2F%zz;p?a=b&c[]=|^`{}"<>\\'},
    ),
    "raw utf-8 target": (head(first="GET /ä/日本 HTTP/1.1".encode()), {"target": "/ä/日本".encode()}),
    "absolute": (head(first=b"GET http://A.Test:80/x?y HTTP/1.1"), {"target": b"/x?y", "host": "a.test"}),
    "absolute https": (head(first=b"GET HTTPS://a.test HTTP/1.1"), {"target": b"/"}),
    "options absolute": (head(first=b"OPTIONS http://a.test HTTP/1.1"), {"target": b"*"}),
    "options absolute with a path": (head(first=b"OPTIONS http://a.test/ HTTP/1.1"), {"target": b"/"}),
    "absolute with query": (head(first=b"GET http://a.test?b=/c HTTP/1.1"), {"target": b"/?b=/c"}),
    "absolute in 1.0 without host": (
        head(first=b"GET http://a.test:81/x HTTP/1.0", host=b""),
        {"target": b"/x", "host": "a.test", "minor": 0},
    ),
    "1.0 without host": (head(first=b"GET / HTTP/1.0", host=b""), {"host": "", "minor": 0, "keep_alive": False}),
    "1.0 keep-alive": (head(b"Connection: Keep-Alive", first=b"GET / HTTP/1.0"), {"minor": 0, "keep_alive": True}),
    "1.0 both": (head(b"Connection: keep-alive, close", first=b"GET / HTTP/1.0"), {"keep_alive": False}),
    "close": (head(b"Connection: close"), {"keep_alive": False}),
    "close in a list": (head(b"Connection: foo,, CLOSE ,"), {"keep_alive": False}),
    "close in the second": (head(b"Connection: keep-alive", b"Connection: close"), {"keep_alive": False}),
    "close in the first": (head(b"Connection: close", b"Connection: keep-alive"), {"keep_alive": False}),
    "closed is not close": (head(b"Connection: closed"), {"keep_alive": True}),
    "connection empty": (head(b"Connection:"), {"keep_alive": True}),
    "host upper case and dot": (head(host=b"HOST: A.TEST.\r\n"), {"host": "a.test"}),
    "host with port": (head(host=b"Host:a.test:8080\r\n"), {"host": "a.test"}),
    "host with high port": (head(host=b"Host:a.test:65535\r\n"), {"host": "a.test"}),
    "host with spaces around": (head(host=b"Host: \t a.test:80 \t\r\n"), {"host": "a.test"}),
    "host with dot and port": (head(host=b"Host: a.test.:80\r\n"), {"host": "a.test"}),
    "host numeric": (head(host=b"Host: 127.0.0.1:80\r\n"), {"host": "127.0.0.1"}),
    "host ipv6": (head(host=b"Host: [2001:DB8:0::1]:80\r\n"), {"host": "[2001:db8::1]"}),
    "host with underscore": (head(host=b"Host: a_b.test\r\n"), {"host": "a_b.test"}),
    "host punycode": (head(host=b"Host: xn--bcher-kva.test\r\n"), {"host": "xn--bcher-kva.test"}),
    "label of 63": (head(host=b"Host: " + b"a" * 63 + b".test\r\n"), {"host": "a" * 63 + ".test"}),
    "name of 253": (
        head(host=b"Host: " + b".".join([b"a" * 49] * 5) + b".abc\r\n"),
        {"host": ".".join(["a" * 49] * 5) + ".abc"},
    ),
    "length 0": (post(b"Content-Length: 0"), {"length": 0}),
    "length with spaces around": (post(b"Content-Length: \t5 \t"), {"length": 5}),
    "length 18 digits": (post(b"content-length: " + b"9" * 18), {"length": 10**18 - 1}),
    "length of GET": (head(b"Content-Length: 5"), {"length": 5}),
    "chunked": (post(b"Transfer-Encoding: chunked"), {"length": -1}),
    "chunked other case": (post(b"TRANSFER-ENCODING:\tChUnKeD "), {"length": -1}),
    "upgrade": (head(b"Connection: Upgrade", b"Upgrade: WebSocket"), {"upgrade": b"websocket"}),
    "upgrade without connection": (head(b"Upgrade: websocket"), {"upgrade": None}),
    "upgrade in 1.0": (head(b"Connection: upgrade", b"Upgrade: a", first=b"GET / HTTP/1.0"), {"upgrade": None}),
    "h2c": (head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"), {"upgrade": None}),
    "h2c beside websocket": (head(b"Connection: upgrade", b"Upgrade: h2c, websocket"), {"upgrade": b"websocket"}),
    "expect": (post(b"Expect: 100-Continue", b"Content-Length: 5"), {"expect_continue": True}),
    "expect without body": (head(b"Expect: 100-continue"), {"expect_continue": False}),
    "expect in 1.0": (
        head(b"Expect: 100-continue", b"Content-Length: 5", first=b"POST / HTTP/1.0"),
        {"expect_continue": False},
    ),
    "authorization": (head(b"AUTHORIZATION:  Basic YTpi "), {"authorization": b"Basic YTpi"}),
    "odd names": (head(b"my_field: 1", b"!#$%&'*+.^_`|~: 2", b"-: 3"), {"method": b"GET"}),
    "obs-text in value": (head(b"A: \xe4\xff\x80"), {"method": b"GET"}),
    "empty value": (head(b"A:", b"B: ", b"C:\t"), {"method": b"GET"}),
    "names that begin like ours": (
        head(b"Hos: 1", b"Hosts: b.test", b"Content-Lengt: 5", b"Content-Lengths: 6", b"Transfer-Encodings: x"),
        {"host": "a.test", "length": 0},
    ),
}


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return first + CRLF + b"".join(line + CRLF for line in lines) + CRLF


def _refused_responses() -> dict[str, bytes]:
    first = {
        "http 0.9": b"hello",
        "other protocol": b"ICY 200 OK",
        "lower case": b"http/1.1 200 OK",
        "version 2": b"HTTP/2 200 OK",
        "version 2.0": b"HTTP/2.0 200 OK",
        "version 1.2": b"HTTP/1.2 200 OK",
        "version 0.9": b"HTTP/0.9 200 OK",
        "no status": b"HTTP/1.1",
        "no status, space": b"HTTP/1.1 ",
        "status 20": b"HTTP/1.1 20 OK",
        "status 2000": b"HTTP/1.1 2000 OK",
        "status 099": b"HTTP/1.1 099 OK",
        "status 000": b"HTTP/1.1 000 OK",
        "status -20": b"HTTP/1.1 -20 OK",
        "status word": b"HTTP/1.1 abc OK",
        "status with letter": b"HTTP/1.1 20x OK",
        "two spaces": b"HTTP/1.1  200 OK",
        "tab": b"HTTP/1.1\t200 OK",
        "tab after status": b"HTTP/1.1 200\tOK",
        "CR in reason": b"HTTP/1.1 200 O\rK",
        "LF in reason": b"HTTP/1.1 200 O\nK",
        "NUL in reason": b"HTTP/1.1 200 O\x00K",
        "escape in reason": b"HTTP/1.1 200 \x1b[0m",
        "leading space": b" HTTP/1.1 200 OK",
        "leading CRLF": b"\r\nHTTP/1.1 200 OK",
        "leading LF": b"\nHTTP/1.1 200 OK",
    }
    table = {f"line: {name}": answer(first=line) for name, line in first.items()}
    table |= {f"field: {name}": answer(line) for name, line in _fields().items()}
    odd = ("underscore", "dot")  # a visitor's program does not fold names
    table |= {
        f"framing: {name}": answer(line) for name, line in _framing().items() if not any(word in name for word in odd)
    }
    table |= {
        "coding in 1.0": answer(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK"),
        "conflict in 304": answer(b"Content-Length: 5", b"Transfer-Encoding: chunked", first=b"HTTP/1.1 304 N"),
        "101 in 1.0": answer(b"Connection: upgrade", b"Upgrade: websocket", first=b"HTTP/1.0 101 S"),
        "101 unasked": answer(b"Connection: upgrade", b"Upgrade: websocket", first=b"HTTP/1.1 101 S"),
        "more behind": answer() + b"x",
        "two heads": answer() + answer(),
        "line ends are LF": answer(b"A: b").replace(CRLF, b"\n"),
        "nothing": b"",
    }
    return table


REFUSED_RESPONSES: Final[Mapping[str, bytes]] = _refused_responses()

STRANGE_RESPONSES: Final[Mapping[str, tuple[bytes, Expected]]] = {
    "no reason": (answer(first=b"HTTP/1.1 200"), {"status": 200, "reason": b"", "length": -2}),
    "empty reason": (answer(first=b"HTTP/1.1 200 "), {"status": 200, "reason": b""}),
    "long reason": (answer(first=b"HTTP/1.1 404 Not \xc3\xa4 Found\t!"), {"reason": b"Not \xc3\xa4 Found\t!"}),
    "status 999": (answer(first=b"HTTP/1.1 999 No"), {"status": 999}),
    "1.0": (answer(first=b"HTTP/1.0 200 OK"), {"minor": 0, "keep_alive": False, "length": -2}),
    "1.0 keep-alive": (
        answer(b"Connection: keep-alive", b"Content-Length: 5", first=b"HTTP/1.0 200 OK"),
        {"keep_alive": True, "length": 5},
    ),
    "until close is no keep-alive": (answer(b"Connection: keep-alive"), {"keep_alive": False, "length": -2}),
    "length": (answer(b"Content-Length: 5"), {"keep_alive": True, "length": 5}),
    "chunked": (answer(b"transfer-encoding: CHUNKED"), {"keep_alive": True, "length": -1}),
    "100": (answer(first=b"HTTP/1.1 100 Continue"), {"status": 100, "length": 0}),
    "103": (answer(b"Link: </a.css>", first=b"HTTP/1.1 103 Early Hints"), {"status": 103, "length": 0}),
    "204 with length": (answer(b"Content-Length: 5", first=b"HTTP/1.1 204 N"), {"length": 0, "keep_alive": True}),
    "204 with coding": (answer(b"Transfer-Encoding: chunked", first=b"HTTP/1.1 204 N"), {"length": 0}),
    "304 with length": (answer(b"Content-Length: 5", first=b"HTTP/1.1 304 N"), {"length": 0}),
    "underscores": (answer(b"Content_Length: 5", b"a_b: c"), {"length": -2}),
}
