"""The page in real Chromium: what it shows, what it does, and what strangers can't make it do."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio
from selenium.webdriver.common.keys import Keys

from ngrokc.events import StateChanged
from ngrokc.inspect.model import Connection
from protocol.address import Upstream
from tests.kit.browser import Page, browse
from tests.kit.inspection import ORIGIN, answer, from_thread, open_inspection, request
from tests.kit.upstream import open_upstream

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PNG = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAoAAAAKCAYAAACNMs+9AAAAFUlEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC"
)
XSS = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>'\">"
XSS += "<svg onload=document.title='owned'>"


async def test_first_visit_live_list_filter_keys_and_clear() -> None:
    async with open_inspection() as it:

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.shows("#detail-pane", "http://test.example.me")
            page.shows("#detail-pane", "curl -i http://test.example.me/hello")
            assert page.wait(lambda: page.run("return document.querySelector('.qr').naturalWidth")) > 50
            assert "token" not in page.driver.current_url
            from_thread(it, request("GET", "/one"), answer())
            from_thread(it, request("POST", "/two", b"needle", "text/plain"), answer(status="503 Down"))
            from_thread(it, request("GET", "/pending"), b"", end=False)
            page.wait(lambda: len(page.all(".row")) == 3)
            assert {tag.text for tag in page.all(".row .tag")} == {"…", "503", "200"}
            page.press("/")
            page.one("#filter").send_keys("status:5xx body:needle")
            page.wait(lambda: len(page.all(".row")) == 1)
            page.shows(".row", "/two")
            page.one("#filter").clear()
            page.one("#filter").send_keys("x", Keys.BACKSPACE, Keys.ESCAPE)
            page.wait(lambda: len(page.all(".row")) == 3)
            page.press("j")
            page.shows("#detail-pane h1", "GET /pending")
            page.press("j")
            page.shows("#detail-pane h1", "POST /two")
            page.press("k")
            page.shows("#detail-pane h1", "GET /pending")
            page.press("?")
            page.shows("#help", "next, previous")
            page.press(Keys.ESCAPE)
            link = page.driver.current_url
            page.open("about:blank")
            page.open(link)
            page.shows("#detail-pane h1", "GET /pending")
            refused = Connection("0123456789abcdef", ORIGIN, 1.0)
            refused.failure, refused.ended_at = "upstream_refused: nothing listens there", 2.0
            trio.from_thread.run_sync(it.inspector.store.add, refused)
            page.open(f"{it.inspector.base_url}/#/x/{refused.id}")
            page.shows("#detail-pane", "nothing listens there")
            page.press("re")
            page.click("#clear")
            page.wait(lambda: not page.all(".row"))

        await browse(steps)


async def test_every_kind_of_body_and_masking() -> None:
    form = b"user=ada&note=two+words"
    parts = (
        b'--B\r\nContent-Disposition: form-data; name="up"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nfile text\r\n'
        b"--B--\r\n"
    )
    data = gzip.compress(json.dumps({"deep": {"list": [1, True, None, "text"]}}).encode())
    secret = "Authorization: Bearer canary-1\r\nCookie: sid=canary-2; theme=x\r\nX-Api-Key: canary-3\r\n"
    async with open_inspection() as it:
        json_id = it.send(
            request("POST", "/json?access_token=canary-4&q=1", form, "application/x-www-form-urlencoded", secret),
            answer(data, "application/json", extra="Content-Encoding: gzip\r\nSet-Cookie: s=canary-5; Path=/\r\n"),
        )
        parts_id = it.send(
            request("PUT", "/up", parts, "multipart/form-data; boundary=B"), answer(b"<a><b>deep</b></a>", "text/xml")
        )
        image_id = it.send(request("GET", "/img"), answer(PNG, "image/png"))
        binary_id = it.send(request("GET", "/bin"), answer(bytes(range(256)), "application/octet-stream"))
        sse_id = it.send(request("GET", "/sse"), answer(b"event: tick\ndata: hello\n\n", "text/event-stream"))
        svg_id = it.send(request("GET", "/svg"), answer(f"<svg>{XSS}</svg>".encode(), "image/svg+xml"))

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            base = it.inspector.base_url

            def look(id_: str, *texts: str) -> None:
                page.open(f"{base}/#/x/{id_}")
                for text in texts:
                    page.shows("#detail-pane", text)

            look(json_id, '"deep": {', "ada", "two words", "/json?access_token=********")
            page.click("[data-key=request-headers]")
            page.shows("#detail-pane", "sid=********; theme=********")
            page.click("[data-key=request-raw]")
            page.shows("#detail-pane", "Bearer ********")
            assert "canary" not in page.driver.page_source
            page.click("[data-key=reveal]")
            page.shows("#detail-pane", "canary-1")
            page.click("[data-key=request-cookies]")
            page.shows("#detail-pane", "canary-2")
            page.click("[data-key=request-query]")
            page.shows("#detail-pane", "canary-4")
            page.click("[data-key=request-body]")
            look(parts_id, "a.txt", "file text", "<b>deep</b>")
            look(image_id)
            assert page.wait(lambda: page.run("return document.querySelector('.picture')?.naturalWidth")) == 10
            look(binary_id, "00000010  10 11 12")
            look(sse_id, "tick", "hello")
            look(svg_id, "<svg>")
            assert page.all("#detail-pane .picture") == []

        await browse(steps)


async def test_nothing_from_a_visitor_becomes_markup() -> None:
    async with open_inspection() as it:
        raw = XSS.replace(" ", "\t")
        ids = [
            it.send(request("GET", "/" + raw), answer(XSS.encode(), "text/html")),
            it.send(request("GET", "/q?" + raw + "=" + raw, extra=f"X-{'a'}: {XSS}\r\nCookie: {XSS}={XSS}\r\n"), answer()),
            it.send(
                request("POST", "/form", f"{raw}={raw}".encode(), "application/x-www-form-urlencoded"),
                answer(json.dumps({XSS: XSS}).encode(), "application/json", f"200 {XSS}", f"Set-Cookie: {XSS}\r\n"),
            ),
            it.send(
                request("POST", "/part", b'--B\r\nContent-Disposition: form-data; name="' + XSS.replace('"', "").encode()
                        + b'"; filename="' + XSS.replace('"', "").encode() + b'"\r\n\r\n' + XSS.encode() + b"\r\n--B--",
                        "multipart/form-data; boundary=B"),
                answer(f"event: {XSS}\ndata: {XSS}\n\n".encode(), "text/event-stream"),
            ),
            it.send(request(XSS.replace(" ", ""), "/"), answer(XSS.encode(), "application/xml"), end=False),
        ]  # fmt: skip

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.wait(lambda: len(page.all(".row")) == len(ids))
            for id_ in ids:
                page.open(f"{it.inspector.base_url}/#/x/{id_}")
                page.wait(lambda: page.all("#detail-pane .side"))
                for tab in [tab.get_attribute("data-key") for tab in page.all("[role=tab]")]:
                    page.click(f"[data-key={tab}]")
                page.click("[data-key=request-body]")
            page.press("e")
            page.wait(lambda: page.all("#edit[open] textarea"))
            assert page.driver.title == "ngrokc inspector"
            assert page.all("main img:not(.qr):not(.picture), main svg[onload], main script") == []

        await browse(steps)


async def test_replay_edit_and_diff() -> None:
    async with open_upstream() as upstream, open_inspection(Upstream("tcp", "127.0.0.1", upstream.ports["http"])) as it:
        first = it.send(
            request("POST", "/echo?x=1", b"before", "text/plain"), answer(b'{"old": 1}', "application/json")
        )

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.open(f"{it.inspector.base_url}/#/x/{first}")
            page.shows("#detail-pane", "before")
            page.press("r")
            page.wait(lambda: first not in page.driver.current_url)
            page.shows("#detail-pane", '"method": "POST"')
            page.shows("#detail-pane .facts", "replay")
            page.click("[data-key=diff]")
            page.shows("#edit", "What changed")
            page.shows("#edit .minus", '"old": 1')
            page.press(Keys.ESCAPE)
            page.open(f"{it.inspector.base_url}/#/x/{first}")
            page.shows("#detail-pane", "before")
            page.press("e")
            area = page.wait(lambda: page.all("#edit[open] textarea"))[1]
            area.clear()
            area.send_keys("after")
            path = page.one("#edit[open] input.mono")
            path.clear()
            path.send_keys("/edited")
            page.click("#edit-send")
            page.shows("#detail-pane h1", "POST /edited")
            page.shows("#detail-pane", '"body": "after"')
            page.press("e")
            path = page.one("#edit[open] input.mono")
            path.clear()
            path.send_keys("http://evil.test/")
            page.click("#edit-send")
            page.shows("#edit .bad", "path must begin with /")
            (refusal,) = page.problems()
            assert "status of 400" in refusal

        await browse(steps)
        targets = [head.target for head in upstream.seen]
        assert targets == [b"/echo?x=1", b"/edited"]


class Attacker(BaseHTTPRequestHandler):
    """A page on another origin of the same machine: same site for cookies, which is the worst case."""

    script = ""

    def do_GET(self) -> None:
        data = (
            f"<!doctype html><meta charset=utf-8><title>attacker</title><body><script>{self.script}</script>".encode()
        )
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Quiet."""


ATTACK = """
const base = %s, id = %s, out = window.out = {};
const tried = (name, promise) => promise.then(async (r) => out[name] = 'read ' + r.status + (r.type === 'opaque' ? ' opaque' : ''), () => out[name] = 'refused');
const post = {method: 'POST', credentials: 'include', body: '{}'};
Promise.all([
  tried('read', fetch(base + '/api/exchanges', {credentials: 'include'})),
  tried('tunnels', fetch(base + '/api/tunnels', {credentials: 'include'})),
  tried('json', fetch(base + '/api/exchanges/' + id + '/replay', {...post, headers: {'content-type': 'application/json'}})),
  tried('blind', fetch(base + '/api/exchanges/' + id + '/replay', {...post, mode: 'no-cors'})),
  tried('clear', fetch(base + '/api/clear', {...post, mode: 'no-cors', headers: {'content-type': 'text/plain'}})),
  tried('delete', fetch(base + '/api/requests/http', {method: 'DELETE', credentials: 'include'})),
  new Promise((done) => { const ws = new WebSocket(base.replace('http', 'ws') + '/api/live');
    ws.onmessage = () => { out.ws = 'read'; done(); }; ws.onerror = () => { out.ws ??= 'refused'; done(); }; }),
  new Promise((done) => { const i = new Image(); i.onload = () => { out.img = 'read'; done(); }; i.onerror = () => { out.img = 'refused'; done(); }; i.src = base + '/api/tunnels/test/qr'; }),
  new Promise((done) => { const s = document.createElement('script'); s.onload = () => { out.script = 'read'; done(); }; s.onerror = () => { out.script = 'refused'; done(); }; s.src = base + '/static/app.js'; document.head.append(s); }),
]).then(() => {
  const f = document.createElement('form'); f.method = 'POST'; f.enctype = 'text/plain'; f.action = base + '/api/clear'; f.target = 'frame';
  const i = document.createElement('iframe'); i.name = 'frame'; document.body.append(i, f); i.onload = () => { out.done = true; }; f.submit();
});
"""  # noqa: E501


@pytest.mark.parametrize("open_api", [False, True])
async def test_a_page_of_another_origin_can_neither_read_nor_change(open_api: bool) -> None:
    from ngrokc.inspect.settings import InspectSettings

    settings = InspectSettings(port=0, open_api=open_api)
    async with open_upstream() as upstream:
        target = Upstream("tcp", "127.0.0.1", upstream.ports["http"])
        async with open_inspection(target, settings) as it:
            first = it.send(request("POST", "/pay", b"1", "text/plain"), answer(b"secret"))
            script = ATTACK % (json.dumps(it.inspector.base_url), json.dumps(first))
            handler = type("Handler", (Attacker,), {"script": script})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()

            def steps(page: Page) -> None:
                page.open(it.inspector.login_url)  # the victim is logged in
                page.shows("#rows", "/pay")
                for host in ("127.0.0.1", "localhost"):
                    page.open(f"http://{host}:{server.server_port}/")
                    out = page.wait(lambda: page.run("return window.out.done ? window.out : null"))
                    out.pop("done")
                    assert out.pop("blind") in ("refused", "read 0 opaque")
                    assert out.pop("clear") in ("refused", "read 0 opaque")
                    assert set(out.values()) == {"refused"}, out
                page.problems()

            try:
                await browse(steps)
            finally:
                await trio.to_thread.run_sync(server.shutdown)
                server.server_close()
            assert it.inspector.store.exchange(first) is not None
            assert len(it.inspector.store) == 1
            assert upstream.seen == []


async def test_on_a_phone_nothing_overflows() -> None:
    async with open_inspection() as it:
        first = it.send(request("GET", "/" + "long" * 200), answer(b"x" * 5000))

        def steps(page: Page) -> None:
            page.driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True},
            )
            page.open(it.inspector.login_url)
            for where in ("#/", f"#/x/{first}", "#/status"):
                page.open(f"{it.inspector.base_url}/{where}")
                page.wait(lambda: page.run("return document.readyState") == "complete")
                page.wait(lambda: page.all(".row, .side, .history"))
                assert page.run("return document.documentElement.scrollWidth") <= 360

        await browse(steps)


async def test_ten_thousand_a_minute_stay_smooth() -> None:
    async with open_inspection() as it:

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.run(
                "window.worst = 0; let last = performance.now(); const tick = (now) => {"
                " window.worst = Math.max(window.worst, now - last); last = now; requestAnimationFrame(tick); };"
                " requestAnimationFrame(tick);"
            )
            for number in range(1500):
                from_thread(it, request("GET", f"/n/{number}"), answer(b"x"))
            page.shows("#rows", "/n/1499")
            assert len(page.all(".row")) < 60
            assert page.run("return window.worst") < 1500

        await browse(steps)


async def test_the_status_view_changes_only_where_something_changed() -> None:
    async with open_inspection() as it:
        it.agent.events.publish(StateChanged("reconnecting", "the link was <b>lost</b>"))

        def steps(page: Page) -> None:
            page.open(it.inspector.login_url)
            page.press("s")
            page.shows("#status-pane", "the link was <b>lost</b>")
            page.shows("#status-pane", "http://test.example.me")
            page.wait(lambda: page.run("return document.querySelector('#status-pane .qr')?.naturalWidth"))
            page.run("document.querySelector('#status-pane .qr').marked = true")
            trio.from_thread.run_sync(it.agent.events.publish, StateChanged("online", "again"))
            page.shows("#status-pane .history", "again")
            assert page.run("return document.querySelector('#status-pane .qr').marked")

        await browse(steps)
