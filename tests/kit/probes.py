"""What the public suites and the smuggling literature send, each with the one verdict that the edge may give, and why.

Gathered from Http11Probe's six suites, the trophies of the HTTP Garden, the permutations of PortSwigger's smuggler, the
"funky chunks" family (whose names TERM.EXT, EXT.TERM, TERM.SPILL and SPILL.TERM say which of two programs ends a chunk's
line too early or swallows bytes behind it) and the advisories in /docs/security-tests.md; written anew. Every row is
followed on its connection by `SMUGGLED`, which must never be taken for a request where the row is refused, and must be
exactly the next request where it passes.
"""

# ruff: noqa: E501 - a table: one probe, one line
from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HOST: Final = b"one.test"
SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: one.test\r\n\r\n"
POST: Final = b"POST / HTTP/1.1\r\nHost: one.test\r\n"
GET: Final = b"GET / HTTP/1.1\r\nHost: one.test\r\n"
CL: Final = b"Content-Length: "
TE: Final = b"Transfer-Encoding: "
CHUNKED: Final = POST + TE + b"chunked\r\n\r\n"

Request = tuple[bytes, bytes, bytes]  # method, target, body as the service must see it


@dataclass(frozen=True, slots=True)
class Probe:
    """`verdict`: the status with which the connection ends, or the requests that must reach the service."""

    name: str
    section: str
    data: bytes
    verdict: int | tuple[Request, ...]


def _refused(family: str, section: str, rows: dict[str, bytes], status: int = 400) -> list[Probe]:
    return [Probe(f"{family}: {name}", section, data, status) for name, data in rows.items()]


def _lines() -> list[Probe]:
    """Of the request line and the shape of the head."""
    tail = b"\r\nHost: one.test\r\n\r\n"
    return [
        *_refused("version", "RFC 9112, 2.3", {
            "8-bit overflow": b"GET / HTTP/4294967295.255" + tail, "9.9": b"GET / HTTP/9.9" + tail, "1.32": b"GET / HTTP/1.32" + tail,
            "zeros": b"GET / HTTP/01.01" + tail, "1.01": b"GET / HTTP/1.01" + tail, "CRs in it": b"GET / HTTP/\r\r1.1" + tail,
            "none, one line": b"GET /\r\n\r\n", "lower case": b"GET / http/1.1" + tail, "dots": b"\x00 / HTTP/............0596.7407." + tail,
            "h2 preface whole": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "1.2": b"GET / HTTP/1.2" + tail,
        }),
        *_refused("line", "RFC 9112, 3", {
            "method cut by quotes": b'G=":<>(e),[T];?" / HTTP/1.1' + tail, "LF before the version": b"GET /\nHTTP/1.1" + tail,
            "CR for CRLF": b"GET / HTTP/1.1\rHost: one.test\r\n\r\n", "LF for CRLF": b"GET / HTTP/1.1\nHost: one.test\r\n\r\n",
            "only spaces": b"   \r\n\r\n", "binary": bytes(range(128, 256)) + b"\r\n\r\n", "target in latin-1": b"GET /caf\xe9 HTTP/1.1" + tail,
            "target with overlong UTF-8": b"GET /\xc0\xaf HTTP/1.1" + tail, "target with NUL": b"GET /\x00test HTTP/1.1" + tail,
            "target without slash": b"GET ! HTTP/1.1" + tail, "two spaces": b"GET  / HTTP/1.1" + tail, "space in target": b"GET /pa th HTTP/1.1" + tail,
            "two CRLF before": b"\r\n\r\nGET / HTTP/1.1" + tail, "asterisk for GET": b"GET * HTTP/1.1" + tail, "fragment": b"GET /path#frag HTTP/1.1" + tail,
        }),
        *_refused("method", "RFC 9110, 9.3.6", {
            "CONNECT": b"CONNECT one.test:443 HTTP/1.1\r\nHost: one.test:443\r\n\r\n", "CONNECT with a body": b"CONNECT one.test:443 HTTP/1.1\r\nHost: one.test:443\r\nContent-Length: 42\r\n\r\n",
            "TRACE": b"TRACE / HTTP/1.1\r\nHost: one.test\r\nAuthorization: Bearer secret\r\n\r\n", "TRACE with a body": b"TRACE / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 5\r\n\r\nhello",
        }, 501),
        *_refused("head", "RFC 9112, 5", {
            "ended by CRLF CR X": GET + b"\rZ", "ended by LF LF": b"GET / HTTP/1.1\nHost: one.test\n\n", "name over two lines": POST + b"Transfer-\r\nEncoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "no colon but a length": POST + b"Content-Length 10\r\n\r\n0123456789", "only a colon, then more": GET + b":\r\nI: am chopped off\r\n\r\n", "empty name": GET + b": ignored\r\n\r\n",
            "NUL then CRLF": GET + b"X: a\x00\r\n\r\n", "NUL within CRLF": GET + b"X: a\r\x00\n\r\n", "value then LF LF": GET + b"Useless:\n\nGET / HTTP/1.1\r\n\r\n", "CR as a line's end": GET + b"Visible: x\rSmuggled: y\r\n\r\n",
            "line of white space": b"GET / HTTP/1.1\r\n \r\nHost: one.test\r\n\r\n", "line of white space behind": GET + b"X: y\r\n \r\n\r\n", "first line begins with a tab": b"GET / HTTP/1.1\r\n\tContent-Length: 1\r\nHost: one.test\r\n\r\nX",
            "obs-fold": GET + b"X-Test: value\r\n continued\r\n\r\n", "obs-fold with CR": GET + b"X: y\r\r\n z\r\n\r\n", "NEL before the colon": GET + b"Content-Length\x85: 10\r\n\r\n0123456789",
            "NBSP before the colon": GET + b"Content-Length\xa0: 10\r\n\r\n0123456789", "soft hyphen in a name": POST + b"Transfer\xadEncoding: chunked\r\n\r\n0\r\n\r\n", "backslash in a name": POST + b"Transfer\\Encoding: chunked\r\n\r\n0\r\n\r\n",
            "space in a name": POST + b"Transfer Encoding: chunked\r\n\r\n0\r\n\r\n", "junk before the colon": POST + b"Transfer-Encoding x: chunked\r\n\r\n0\r\n\r\n", "no line at all but a name": GET + b"Te\nst: test\r\n\r\n",
            "control bytes": GET + b"X-Test: abc\x07\x08\x0bdef\r\n\r\n", "name in latin-1": GET + b"X-T\xebst: value\r\n\r\n",
        }),
        *_refused("host", "RFC 9112, 3.2", {
            "none": b"GET / HTTP/1.1\r\n\r\n", "twice the same": GET + b"Host: one.test\r\n\r\n", "two": GET + b"Host: two.test\r\n\r\n", "empty": b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
            "userinfo": b"GET / HTTP/1.1\r\nHost: user@one.test\r\n\r\n", "path": b"GET / HTTP/1.1\r\nHost: one.test/path\r\n\r\n", "list": b"GET / HTTP/1.1\r\nHost: one.test, two.test\r\n\r\n",
            "NUL": b"GET / HTTP/1.1\r\nHost: one.test\x00.two.test\r\n\r\n", "high bytes around": b"GET / HTTP/1.1\r\nHost: \xffone.test\xff\r\n\r\n", "folded": b"GET / HTTP/1.1\r\nHost:\r\n one.test\r\n\r\n",
            "with space before the colon": b"GET / HTTP/1.1\r\nHost : one.test\r\n\r\n", "second one indented": GET + b" Host: two.test\r\n\r\n", "other one in the target": b"GET http://two.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n",
            "other one behind userinfo": b"GET http://one.test@two.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n", "other port in the target": b"GET http://one.test:81/ HTTP/1.1\r\nHost: one.test\r\n\r\n",
            "none beside an absolute target": b"GET http://one.test/ HTTP/1.1\r\n\r\n", "empty beside an absolute target": b"GET http://one.test/ HTTP/1.1\r\nHost:\r\n\r\n",
        }),
    ]  # fmt: skip


def _lengths() -> list[Probe]:
    """Content-Length alone, doubled, beside chunks; Transfer-Encoding in all its disguises."""
    texts = {
        "octal": b"0o5", "octal to some": b"0200", "three times": b"5, 5, 5", "comma before": b",5", "zero, then it": b"0,5", "longest prefix": b"5Z", "hex": b"0x5", "minus one": b"-1", "python's": b"1_0",
        "plus": b"+5", "exponent": b"5e0", "NBSP": b"\xa05", "NEL behind": b"5\x85", "20 digits": b"9" * 20, "two words": b"5 6", "quoted": b'"5"', "list, different": b"5, 10", "two zeros": b"00",
    }  # fmt: skip
    codings = {
        "gzip": b"gzip", "unknown": b"blegh", "cow, chunked": b"cow, chunked", "chunked, cow": b"chunked, cow", "chunked, gzip": b"chunked, gzip", "chunked, identity": b"chunked, identity",
        "identity, chunked": b"identity, chunked", "chunked twice": b"chunked, chunked", "leading comma": b", chunked", "trailing comma": b"chunked,", "leading comma, no space": b",chunked", "parameter": b"chunked;ext=val",
        "quoted": b'"chunked"', "apostrophes": b"'chunked'", "mime word": b"=?iso-8859-1?B?Y2h1bmtlZA==?=", "xchunked": b"xchunked", "chunkedfoo": b"chunkedfoo", "NEL": b"\x85chunked\x85", "NBSP": b"\xa0chunked", "0xff": b"\xffchunked\xff",
        "vertical tab": b"\x0bchunked", "form feed": b"\x0cchunked", "NUL": b"chunked\x00", "CR": b"\rchunked", "CR behind": b"chunked\r", "backslash": b"\\chunked", "empty": b"", "folded": b"\r\n chunked", "folded twice": b"\r\n \r\n chunked",
        "LF, then space": b"\n chunked", "0x9f": b"\x9fchunked", "identity": b"identity", "accented": b"ch\xfcnked",
    }  # fmt: skip
    lines = {
        "space before the colon": b"Transfer-Encoding : chunked", "tab before the colon": b"Transfer-Encoding\t: chunked", "begins with a space": b" Transfer-Encoding: chunked", "behind LF": b"Foo: bar\nTransfer-Encoding: chunked",
        "behind LF, indented": b"Foo: bar\n Transfer-Encoding: chunked", "behind CR": b"Foo: bar\rTransfer-Encoding: chunked", "underscore": b"Transfer_Encoding: chunked", "in two fields": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "in two fields, other order": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "in two fields, the same": b"Transfer-Encoding: chunked\r\nTransfer-encoding: chunked", "colon on the next line": b"Transfer-Encoding\r\n : chunked",
        "colon behind LF": b"Transfer-Encoding\n : chunked", "escaped dash": b"Transfer%2dEncoding: chunked\r\nTransfer.Encoding: chunked",
    }  # fmt: skip
    both = b"5\r\nhello\r\n0\r\n\r\n"
    return [
        *_refused("length", "RFC 9112, 6.3", {name: POST + CL + text + b"\r\n\r\nhello" for name, text in texts.items()}),
        *_refused("length twice", "RFC 9112, 6.3", {
            "different": POST + CL + b"5\r\n" + CL + b"10\r\n\r\nhello", "the same": POST + CL + b"5\r\n" + CL + b"5\r\n\r\nhello", "0 first": POST + CL + b"0\r\n" + CL + b"42\r\n\r\n", "0 last": POST + CL + b"42\r\n" + CL + b"0\r\n\r\n",
            "empty first": POST + CL + b"\r\n" + CL + b"42\r\n\r\n", "other case, apart": POST + CL + b"42\r\nA: b\r\ncontent-LENGTH: 0\r\n\r\n", "underscore beside": POST + CL + b"0\r\nContent_Length: 42\r\n\r\n", "obs-folded second": POST + CL + b"0\r\nX: y\r\n Content-Length: 42\r\n\r\n",
        }),
        *_refused("CL.TE", "RFC 9112, 6.3", {
            "classic": POST + CL + b"6\r\n" + TE + b"chunked\r\n\r\n0\r\n\r\nX", "TE first": POST + TE + b"chunked\r\n" + CL + b"4\r\n\r\n2a\r\n", "with close": POST + b"Connection: close\r\n" + CL + b"5\r\n" + TE + b"chunked\r\n\r\n0\r\n\r\n",
            "equal ends": POST + CL + b"%d\r\n" % len(both) + TE + b"chunked\r\n\r\n" + both, "Connection lists the length": POST + b"Connection: Content-Length\r\n" + CL + b"42\r\n" + TE + b"chunked\r\n\r\n0\r\n\r\n",
            "Connection lists the coding": POST + b"Connection: Transfer-Encoding\r\n" + CL + b"5\r\n" + TE + b"chunked\r\n\r\n0\r\n\r\n", "in GET": GET + CL + b"5\r\n" + TE + b"chunked\r\n\r\n0\r\n\r\n", "in OPTIONS": b"OPTIONS / HTTP/1.1\r\nHost: one.test\r\n" + TE + b"\r\n chunked\r\n" + CL + b"5\r\n\r\nhello",
        }),
        *_refused("TE.TE", "RFC 9112, 6.1", {name: POST + TE.rstrip() + (b" " + text if not text.startswith((b"\r\n", b"\n")) else text) + b"\r\n\r\n" + both for name, text in codings.items()}),
        *_refused("TE.TE beside a length", "RFC 9112, 6.3", {name: POST + TE.rstrip() + (b" " + text if not text.startswith((b"\r\n", b"\n")) else text) + b"\r\n" + CL + b"5\r\n\r\n" + both for name, text in codings.items()}),
        *_refused("TE.TE line", "RFC 9112, 5.1", {name: POST + line + b"\r\n" + CL + b"5\r\n\r\n" + both for name, line in lines.items()}),
        *_refused("TE in 1.0", "RFC 9112, 6.1", {
            "alone": b"POST / HTTP/1.0\r\nHost: one.test\r\n" + TE + b"chunked\r\n\r\n" + both, "kept alive": b"POST / HTTP/1.0\r\nHost: one.test\r\nConnection: keep-alive\r\n" + TE + b"chunked\r\n\r\n" + both,
            "beside a length": b"POST / HTTP/1.0\r\nHost: one.test\r\nConnection: keep-alive\r\n" + CL + b"5\r\n" + TE + b"chunked\r\n\r\n" + both, "identity": b"POST / HTTP/1.0\r\nHost: one.test\r\n" + TE + b"identity\r\n\r\n",
        }),
    ]  # fmt: skip


def _chunks() -> list[Probe]:
    """Every place of a chunk's line, its data and the trailers, with what one program of two might overlook."""
    end = b"\r\n0\r\n\r\n"
    terminators = {
        "LF": b"\n", "CR": b"\r", "LF CR": b"\n\r", "CR CR": b"\r\r", "CR CR LF": b"\r\r\n", "NUL": b"\x00", "CR X": b"\rX", "LF LF": b"\n\n", "VT": b"\x0b", "NEL": b"\x85", "U+2028": b"\xe2\x80\xa8",
    }  # fmt: skip
    inner = b"5\r\nAAAAA\r\n0\r\n\r\n"
    return [
        # the size's line ends early for one of two: what stands behind is data, or an extension
        *_refused("TERM.EXT", "RFC 9112, 7.1.1", {name: CHUNKED + b"2;" + mark + b"xx\r\n4c\r\n0\r\n\r\n" for name, mark in terminators.items()}),
        *_refused("EXT.TERM", "RFC 9112, 7.1.1", {name: CHUNKED + b"2;a=b" + mark + b"xx\r\n0\r\n\r\n" for name, mark in terminators.items()}),
        *_refused("TERM", "RFC 9112, 7.1", {name: CHUNKED + b"5" + mark + b"hello" + end for name, mark in terminators.items()}),
        *_refused("quoted TERM", "RFC 9112, 7.1.1", {name: CHUNKED + b'5;a="' + mark + b'"\r\nhello' + end for name, mark in terminators.items() if name not in ("NEL", "U+2028")}),
        # behind the data two bytes are swallowed unseen by one of two, or one byte is enough
        *_refused("TERM.SPILL", "RFC 9112, 7.1", {name: CHUNKED + b"5\r\nhello" + mark + b"2\r\n0\r\n\r\n" for name, mark in terminators.items()}),
        *_refused("SPILL.TERM", "RFC 9112, 7.1", {"XX": CHUNKED + b"5\r\nhelloXX0\r\n\r\n", "X CRLF": CHUNKED + b"5\r\nhelloX" + end, "two bytes more": CHUNKED + b"5\r\nhello!!" + end, "nothing": CHUNKED + b"5\r\nhello0\r\n\r\n", "CR X": CHUNKED + b"5\r\nhello\rX0\r\n\r\n", "CRLF twice": CHUNKED + b"5\r\nhello\r\n" + end, "fewer": CHUNKED + b"6\r\nhello" + end}),
        *_refused("last TERM", "RFC 9112, 7.1", {name: CHUNKED + b"5\r\nhello\r\n0\r\n" + mark for name, mark in terminators.items()}),
        *_refused("last size TERM", "RFC 9112, 7.1", {name: CHUNKED + b"5\r\nhello\r\n0" + mark + b"\r\n" for name, mark in terminators.items() if name != "CR"}),
        *_refused("size", "RFC 9112, 7.1", {name: CHUNKED + text + b"\r\nhello" + end for name, text in {
            "17 digits": b"FFFFFFFFFFFFFFFF0", "2**64 + 5": b"10000000000000005", "16 digits of zero": b"0000000000000005", "2**60": b"1000000000000000", "0x": b"0x5", "-0x0": b"-0x0", "plus": b"+5", "minus": b"-5", "python's": b"0_5", "prefix": b"5these-bytes", "g": b"5g",
            "point": b"5.0", "leading space": b" 5", "leading tab": b"\t5", "trailing space": b"5 ", "trailing tab": b"5\t", "empty": b"", "NBSP": b"\xa05", "comma": b"5,5", "full width": "５".encode(), "quoted": b'"5"', "word": b"INVALID!!!", "CRLF before": b"\r\n5",
        }.items()}),
        *_refused("extension", "RFC 9112, 7.1.1", {name: CHUNKED + b"5" + text + b"\r\nhello" + end for name, text in {
            "bare semicolon": b";", "two": b";;", "no name": b";=b", "no value": b";a=", "name of no token": b";bad[=x", "value of no token": b";a=b[", "white space": b" ;a", "white space behind": b"; a", "white space around =": b";a =b", "open quote": b';a="b', "control byte": b";a\x01=b",
            "NUL": b";\x00ext", "64 KiB": b";a=" + b"x" * 65536, "DEL": b';a="\x7f"', "CR in white space": b";a=b\r\rX", "half escape": b';a="b\\', "comma": b";a,b",
        }.items()}),
        *_refused("trailer", "RFC 9110, 6.5.1", {name: CHUNKED + b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n" for name, line in {
            "Content-Length": b"Content-Length: 50", "Transfer-Encoding": b"Transfer-Encoding: chunked", "Host": b"Host: two.test", "Authorization": b"Authorization: Bearer x", "Content-Type": b"Content-Type: text/evil", "Content-Encoding": b"Content-Encoding: gzip", "Cookie": b"Cookie: a=b",
            "Connection": b"Connection: close", "Upgrade": b"Upgrade: websocket", "Expect": b"Expect: 100-continue", "Trailer": b"Trailer: x", "Range": b"Range: bytes=0-1", "ours": b"X-Forwarded-For: 127.0.0.1", "ours with underscores": b"X_Forwarded_For: 127.0.0.1", "Content_Length": b"Content_Length: 5",
            "folded": b"A: b\r\n c", "space before the colon": b"A : b", "no name": b": b", "no colon": b"GET /smuggled HTTP/1.1", "LF": b"A: b\nC: d", "CR": b"A: b\rC: d", "NUL": b"A: \x00", "after a good one": b"A: b\r\nContent-Length: 5",
        }.items()}),
        *_refused("end", "RFC 9112, 7.1", {
            "a body looks for its end": CHUNKED + b"5\r\nhello\r\n0\r\nX", "request as trailers": CHUNKED + b"0\r\n" + SMUGGLED, "another body": CHUNKED + b"0\r\n" + inner, "no last chunk": CHUNKED + b"5\r\nhello\r\n", "half of it missing": CHUNKED + b"5\r\nhello\r\n0\r\nA",
        }),
    ]  # fmt: skip


def _expectations() -> list[Probe]:
    """RFC 9110, 10.1.1 knows one expectation. Whoever reads another spelling as that one waits, who doesn't answers at once."""
    texts = {
        "unknown": b"200-ok", "obfuscated": b"y 100-continue", "list": b"100-continue, 100-continue", "list with another": b"100-continue, x", "parameter": b"100-continue;a=b", "with value": b"100-continue=x", "quoted": b'"100-continue"', "empty": b"", "comma": b"100-continue,", "underscore": b"100_continue",
    }  # fmt: skip
    rows = {name: POST + b"Expect: " + text + b"\r\n" + CL + b"5\r\n\r\nhello" for name, text in texts.items()}
    rows["two fields"] = POST + b"Expect: 100-continue\r\nExpect: 100-continue\r\n" + CL + b"5\r\n\r\nhello"
    rows["in GET"] = GET + b"Expect: cake\r\n\r\n"
    malformed = {"folded": POST + b"Expect:\r\n 100-continue\r\n" + CL + b"5\r\n\r\nhello", "NUL": POST + b"Expect: 100-continue\x00\r\n" + CL + b"5\r\n\r\nhello", "space before the colon": POST + b"Expect : 100-continue\r\n" + CL + b"5\r\n\r\nhello"}  # fmt: skip
    return _refused("Expect", "RFC 9110, 10.1.1", rows, 417) + _refused("Expect", "RFC 9112, 5.1", malformed)


def _sizes() -> list[Probe]:
    return [
        *_refused("size", "RFC 9112, 3", {"line": b"GET /" + b"a" * 16_384 + b" HTTP/1.1\r\nHost: one.test\r\n\r\n", "method": b"A" * 16_384 + b" / HTTP/1.1\r\nHost: one.test\r\n\r\n"}, 414),
        *_refused("size", "RFC 6585, 5", {"value": GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n", "name": GET + b"X" * 70_000 + b": a\r\n\r\n", "fields": GET + b"X: a\r\n" * 300 + b"\r\n", "cookies": GET + b"Cookie: a=b\r\n" * 201 + b"\r\n"}, 431),
    ]  # fmt: skip


def _passing() -> list[Probe]:
    """What must not be refused, because it has one meaning only. Not one byte of a body may be read as a request."""
    body = SMUGGLED  # the worst of bodies
    size = b"%d\r\n\r\n" % len(body)
    lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

    def one(name: str, section: str, data: bytes, *request: bytes) -> Probe:
        method, target, sent = (
            (*request, b"POST", b"/", b"")[:3] if len(request) == 3 else (request[0], b"/", request[1])
        )
        return Probe(f"passes: {name}", section, data, ((method, target, sent),))

    return [
        one("CL.0", "RFC 9112, 6.3", POST + CL + size + body, b"POST", body),
        one("GET with a body", "RFC 9110, 9.3.1", GET + CL + size + body, b"GET", body),
        one("HEAD with a body", "RFC 9110, 9.3.2", b"HEAD / HTTP/1.1\r\nHost: one.test\r\n" + CL + size + body, b"HEAD", body),
        one("OPTIONS with a body", "RFC 9110, 9.3.7", b"OPTIONS / HTTP/1.1\r\nHost: one.test\r\n" + CL + size + body, b"OPTIONS", body),
        one("DELETE in chunks", "RFC 9112, 6.3", b"DELETE / HTTP/1.1\r\nHost: one.test\r\n" + TE + b"chunked\r\n\r\n%X\r\n" % len(body) + body + b"\r\n0\r\n\r\n", b"DELETE", body),
        one("0.CL", "RFC 9112, 6.3", POST + CL + b"0\r\n\r\n", b"POST", b""),
        one("no framing at all", "RFC 9112, 6.3", POST + b"\r\n", b"POST", b""),
        one("1.0 without framing, kept alive", "RFC 9112, 6.3", b"POST / HTTP/1.0\r\nHost: one.test\r\nConnection: keep-alive\r\n\r\n", b"POST", b""),
        one("Connection lists framing", "RFC 9110, 7.6.1", POST + b"Connection: Content-Length, Host\r\n" + CL + size + body, b"POST", body),
        one("Connection lists the coding", "RFC 9110, 7.6.1", POST + b"Connection: Transfer-Encoding\r\n" + TE + b"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"POST", b"hello"),
        one("coding in any case, with tabs", "RFC 9112, 7", POST + b"tRANSFER-eNCODING:\t cHUNKED \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"POST", b"hello"),
        one("length with white space", "RFC 9112, 5.1", POST + b"Content-Length: \t 5 \t\r\n\r\nhello", b"POST", b"hello"),
        one("length without a space", "RFC 9112, 5.1", POST + b"Content-Length:5\r\n\r\nhello", b"POST", b"hello"),
        one("content coding called chunked", "RFC 9110, 8.4", POST + b"Content-Encoding: chunked\r\n" + CL + b"5\r\n\r\nhello", b"POST", b"hello"),
        one("chunks with extensions", "RFC 9112, 7.1.1", CHUNKED + b'A;a;b=c;d="e;\\"f"\r\nhelloworld\r\n0;last\r\n\r\n', b"POST", b"helloworld"),
        one("chunks with trailers", "RFC 9112, 7.1.2", CHUNKED + b"5\r\nhello\r\n0\r\nX-Checksum: abc\r\n\r\n", b"POST", b"hello"),
        one("chunks like framing", "RFC 9112, 7.1", CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"POST", body + b"0\r\n\r\n"),
        one("15 digits", "RFC 9112, 7.1", CHUNKED + b"000000000000005\r\nhello\r\n000000000000000\r\n\r\n", b"POST", b"hello"),
        one("one CRLF before", "RFC 9112, 2.2", b"\r\n" + GET + b"\r\n", b"GET", b""),
        one("absolute target", "RFC 9112, 3.2.2", b"GET http://ONE.test:80/ HTTP/1.1\r\nHost: one.test\r\n\r\n", b"GET", b""),
        one("two slashes are a path", "RFC 9112, 3.2.1", b"GET //two.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n", b"GET", b"//two.test/", b""),
        one("a whole URL in the query", "RFC 9112, 3.2.1", b"GET /?http://two.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n", b"GET", b"/?http://two.test/", b""),
        one("escaped CRLF in the path", "RFC 3986, 2.1", b"GET /%0d%0aX:%20y HTTP/1.1\r\nHost: one.test\r\n\r\n", b"GET", b"/%0d%0aX:%20y", b""),
        one("OPTIONS for the server", "RFC 9112, 3.2.4", b"OPTIONS * HTTP/1.1\r\nHost: one.test\r\n\r\n", b"OPTIONS", b"*", b""),
        one("OPTIONS for the server, absolute", "RFC 9112, 3.2.4", b"OPTIONS http://one.test HTTP/1.1\r\nHost: one.test\r\n\r\n", b"OPTIONS", b"*", b""),
        one("OPTIONS for the root, absolute", "RFC 9112, 3.2.4", b"OPTIONS http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n", b"OPTIONS", b"/", b""),
        one("100-continue, not waited for", "RFC 9110, 10.1.1", POST + b"Expect: 100-Continue\r\n" + CL + size + body, b"POST", body),
        one("100-continue without a body", "RFC 9110, 10.1.1", GET + b"Expect: 100-continue\r\n\r\n", b"GET", b""),
        one("upgrade that is not taken", "RFC 9110, 7.8", GET + lines + b"\r\n", b"GET", b""),
        one("upgrade with an unknown version", "RFC 9110, 7.8", GET + lines.replace(b"13", b"777") + b"\r\n", b"GET", b""),
        one("upgrade with a body", "RFC 9110, 7.8", POST + lines + CL + size + body, b"POST", body),
        one("upgrade that Connection does not list", "RFC 9110, 7.8", GET + b"Upgrade: websocket\r\n\r\n", b"GET", b""),
        one("upgrade to h2c", "RFC 9113, 3.1", GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", b"GET", b""),
        one("upgrade to h2c, folded into another", "RFC 9113, 3.1", GET + b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", b"GET", b""),
        Probe("passes: two in one write", "RFC 9112, 9.3.2", GET + b"\r\n" + GET.replace(b"/ ", b"/2 ") + b"\r\n", ((b"GET", b"/", b""), (b"GET", b"/2", b""))),
    ]  # fmt: skip


def probes() -> list[Probe]:
    """All of them, each with a name of its own."""
    return [*_lines(), *_lengths(), *_chunks(), *_expectations(), *_sizes(), *_passing()]
