"""Answers of development servers that do not know the public name, in the form that today's versions give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.blocked_host import BLOCKERS, LOOK_BYTES, Blocker, Look, advice, judge


def answer(status: str, body: str, *, chunked: bool = False) -> bytes:
    data = body.encode()
    if chunked:
        return b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            status.encode(), len(data), data
        )  # fmt: skip
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(data), data)


NAME = "test.example.me"
STYLE = "<style>" + "p { color: red }\n" * 400 + "</style>"
SEEN = {
    "Vite": answer("403 Forbidden", f'Blocked request. This host ("{NAME}") is not allowed.\nTo allow', chunked=True),
    "webpack-dev-server": answer("403 Forbidden", "Invalid Host header"),
    "Django": answer("400 Bad Request", f"<html><head>\n<title>DisallowedHost\n  at /</title>{STYLE * 9}"),
    "Rails": answer("403 Forbidden", f"{STYLE}<h1>Blocked hosts: {NAME}</h1><pre>config.hosts &lt;&lt;"),
    "Sinatra": answer("403 Forbidden", "Host not permitted"),
    "Jupyter": answer("403 Forbidden", "<title>Jupyter Server</title><h1>403 : Forbidden</h1>"),
    "Flask": answer("400 BAD REQUEST", f"<h1>Bad Request</h1>\n<p>Host &#39;{NAME}&#39; is not trusted.</p>"),
    "Starlette": answer("400 Bad Request", "Invalid host header"),
    "Angular": answer("400 Bad Request", f'URL with hostname "{NAME}" is not allowed.'),
    "ASP.NET": answer("400 Bad Request", "<h2>Bad Request - Invalid Hostname</h2>"),
}
HARMLESS = (
    answer("200 OK", "hello"),
    answer("200 OK", "a page about the Invalid Host header"),
    answer("404 Not Found", "Invalid Host header"),
    answer("403 Forbidden", "you may not"),
    answer("400 Bad Request", "what?", chunked=True),
    answer("502 Bad Gateway", "Blocked request. This host ("),
    b"HTTP/1.1 103 Early Hints\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"HTTP/2 403 \r\n\r\n",
    b"\x16\x03\x01",
)


def verdicts(data: bytes, size: int) -> list[Blocker | Look]:
    """What is said after each piece, up to the first that is final."""
    found: list[Blocker | Look] = []
    for end in range(size, len(data) + size, size):
        found.append(judge(data[: min(end, LOOK_BYTES)]))
        if found[-1] is not Look.MORE:
            break
    return found


def test_each_is_known() -> None:
    assert set(SEEN) == {blocker.service for blocker in BLOCKERS}


@pytest.mark.parametrize("size", [1, 7, 1400, 100_000])
@pytest.mark.parametrize("service", list(SEEN))
def test_a_block_is_seen_however_it_arrives(service: str, size: int) -> None:
    last = verdicts(SEEN[service], size)[-1]
    assert isinstance(last, Blocker)
    assert last.service == service


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("data", HARMLESS)
def test_nothing_else_is_one(data: bytes, size: int) -> None:
    assert verdicts(data, size)[-1] is Look.NOTHING


@pytest.mark.parametrize("size", [1, 100_000])
def test_an_old_webpack_says_so_with_200(size: int) -> None:
    last = verdicts(answer("200 OK", "Invalid Host header"), size)[-1]
    assert isinstance(last, Blocker)
    assert last.service == "webpack-dev-server"


def test_a_normal_answer_is_done_with_at_its_head() -> None:
    assert judge(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") is Look.NOTHING
    assert judge(b"HTTP/1.1 200 OK\r\n\r\n") is Look.NOTHING
    assert judge(b"HTTP/1.1 304 ") is Look.NOTHING


def test_a_look_ends() -> None:
    assert judge(b"HTTP/1.1 403 Forbidden\r\n" + b"a" * LOOK_BYTES) is Look.NOTHING
    assert judge(b"HTTP/1.1 200 OK\r\n" + b"a" * 4096) is Look.NOTHING


@given(st.binary(max_size=200), st.sampled_from([b"", b"HTTP/1.1 403 X\r\n", b"HTTP/1.1 200 OK\r\n"]))
def test_any_bytes_are_judged(data: bytes, start: bytes) -> None:
    assert judge(start + data) is not None


def test_the_advice_is_one_line_that_can_be_copied() -> None:
    rows = {blocker.service: blocker for blocker in BLOCKERS}
    assert advice(rows["Vite"], NAME, 5173, header="preserve") == (
        "Vite refuses the host name test.example.me; add `host_header: rewrite` to the tunnel, or -hostHeader=rewrite"
    )
    assert "`host_header: localhost:5000`" in advice(rows["ASP.NET"], NAME, 5000, header="preserve")
    assert advice(rows["Rails"], NAME, 3000, header="preserve").endswith('config.hosts << "test.example.me"')
    for header in ("", "rewrite"):  # a 1.7 server; tried, and it did not help
        assert advice(rows["Vite"], NAME, 5173, header=header).endswith('server.allowedHosts: ["test.example.me"]')
