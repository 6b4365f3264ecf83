"""Error pages as responses: parsed by h11, in three forms, with nothing of the request in them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import h11
import pytest

from ngrokd.edge.codes import CODES
from ngrokd.edge.pages import TEMPLATE_CAP, Pages, wanted
from protocol.errors import ConfigError
from protocol.head import RequestHead, parse_request

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
DATE = "Sat, 21 Nov 2026 10:00:00 GMT"
PAGES = Pages(clock=lambda: DATE)


def request(accept: bytes | None = None, *, method: bytes = b"GET", more: bytes = b"") -> RequestHead:
    field = b"" if accept is None else b"Accept: " + accept + b"\r\n"
    return parse_request(method + b" /canary?canary HTTP/1.1\r\nHost: canary.test\r\n" + field + more + b"\r\n")


def parsed(raw: bytes, method: bytes = b"GET") -> tuple[int, dict[str, str], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data[0] == b""
    assert connection.their_state is h11.MUST_CLOSE
    return head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("accept", [None, BROWSER, b"application/json"])
def test_each_code_in_each_form(code: str, accept: bytes | None) -> None:
    status, fields, body = parsed(PAGES.render(code, "id42.1", request(accept)))
    assert status == CODES[code].status
    assert fields["ngrok-error-code"] == code
    assert fields["cache-control"] == "no-store"
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["date"] == DATE
    assert ("retry-after" in fields) == (status in (429, 503))
    assert ("www-authenticate" in fields) == (status == 401)
    assert "default-src 'none'" in fields["content-security-policy"]
    text = body.decode("utf-8")
    assert "id42.1" in text
    assert code in text
    assert "canary" not in text
    assert CODES[code].title in text
    assert text.endswith("\n")


def test_forms() -> None:
    def kind(accept: bytes | None) -> str:
        return parsed(PAGES.render("bad_request", "x", request(accept)))[1]["content-type"]

    assert kind(BROWSER) == "text/html; charset=utf-8"
    assert kind(b"application/json") == "application/json"
    assert kind(b"*/*") == "text/plain; charset=utf-8"
    assert kind(None) == "text/plain; charset=utf-8"
    body = parsed(PAGES.render("tunnel_not_found", "x", request(b"application/json")))[2]
    assert json.loads(body) == {
        "error": "Tunnel not found",
        "code": "tunnel_not_found",
        "status": 404,
        "message": CODES["tunnel_not_found"].text,
        "hint": CODES["tunnel_not_found"].hint,
        "request_id": "x",
    }
    assert parsed(PAGES.render("tunnel_not_found", "x"))[2] == b"Tunnel not found (tunnel_not_found, request x)\n"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"text/html;q=0.5, application/json", b"application/json"),
        (b"application/json;q=0.1,text/html;q=0.2", b"text/html"),
        (b"TEXT/HTML", b"text/html"),
        (b"text/html;level=1; Q=0.9 ,text/plain", b"text/plain"),
        (b"text/html;q=0", b"text/plain"),
        (b"text/html;q=abc", b"text/plain"),
        (b"text/html;q=1e9", b"text/plain"),
        (b"text/html;q=-1", b"text/plain"),
        (b"", b"text/plain"),
        (b",;,", b"text/plain"),
        (b"image/png", b"text/plain"),
        (b"," * 60000 + b"text/html", b"text/plain"),
    ],
)
def test_accept(accept: bytes, kind: bytes) -> None:
    assert wanted(accept).partition(b";")[0] == kind


def test_head_gets_no_body() -> None:
    for accept in (None, BROWSER):
        status, fields, body = parsed(PAGES.render("bad_request", "x", request(accept, method=b"HEAD")), b"HEAD")
        assert (status, body) == (400, b"")
        assert int(fields["content-length"]) > 0


def test_fields_of_one_answer() -> None:
    _, fields, _ = parsed(PAGES.render("https_required", "x", request(), b"Location: https://a.test/b\r\n"))
    assert fields["location"] == "https://a.test/b"
    raw = PAGES.render("rate_limited", "x", request(), b"Retry-After: 3\r\n")
    assert raw.count(b"Retry-After") == 1
    assert parsed(raw)[1]["retry-after"] == "3"


def test_unknown_codes_are_shown_as_public_ones() -> None:
    status, fields, body = parsed(PAGES.render("<script>alert(1)</script>", "x", request(BROWSER)))
    assert (status, fields["ngrok-error-code"]) == (502, "upstream_refused")
    assert b"script" not in body


class Page(HTMLParser):
    """Tags in and out must match, and nothing may be loaded from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {name for name, _ in attrs} & {"src", "href", "srcset", "style"}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("code", CODES)
def test_the_page_is_whole_and_loads_nothing(code: str) -> None:
    body = parsed(PAGES.render(code, "x", request(BROWSER)))[2].decode()
    page = Page()
    page.feed(body)
    page.close()
    assert page.open == []
    assert "$" not in body
    assert "http://" not in body
    assert "url(" not in body
    assert len(body) < 4096


# -- an operator's own templates
def test_own_templates(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>$status $title ($code) $request_id costs $$5: $text $hint")
    (tmp_path / "forbidden.html").write_text("<p>Go away. $request_id ${request_id}")
    pages = Pages(tmp_path)
    row = CODES["agent_offline"]
    _, fields, body = parsed(pages.render("agent_offline", "x7", request(BROWSER)))
    assert body.decode() == f"<p>503 {row.title} (agent_offline) x7 costs $5: {row.text} {row.hint}"
    assert "content-security-policy" not in fields
    assert parsed(pages.render("forbidden", "x7", request(BROWSER)))[2] == b"<p>Go away. x7 x7"
    assert parsed(pages.render("forbidden", "x7", request()))[2].startswith(b"Forbidden")


def test_words_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("$text")
    body = parsed(Pages(tmp_path).render("head_too_large", "x", request(BROWSER)))[2]
    assert b"request&#x27;s" in body


@pytest.mark.parametrize("text", ["$nonsense", "a $ b", "${", "$5"])
def test_bad_templates_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "internal.html").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Pages(tmp_path)
    assert caught.value.file == str(tmp_path / "internal.html")
    assert "$request_id" in caught.value.hint


def test_unreadable_templates(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        Pages(tmp_path)
    (tmp_path / "page.html").write_bytes(b"x" * (TEMPLATE_CAP + 1))
    with pytest.raises(ConfigError, match="larger than"):
        Pages(tmp_path)
    (tmp_path / "page.html").unlink()
    (tmp_path / "page.html").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        Pages(tmp_path)


def test_a_directory_without_templates_changes_nothing(tmp_path: Path) -> None:
    assert Pages(tmp_path, clock=lambda: DATE).render("internal", "x") == PAGES.render("internal", "x")
