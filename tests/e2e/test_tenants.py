"""Two tenants below one domain, as a real browser sees them through the real programs: whose cookies reach whom (D-L2).

The edge passes Set-Cookie as it is. It could not keep tenants apart by it anyway: a page's script sets the same cookie
without any header. What keeps them apart is the browser, when the domain is a public suffix (github.io is on the list;
names of one label such as localhost count as such), and names that begin with __Host-.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trio

from tests.kit.browser import open_browser, require
from tests.kit.programs import World

pytestmark = pytest.mark.browser


class Tenant(BaseHTTPRequestHandler):
    """Sets the cookies that stand in `cookies`, and shows those that came."""

    cookies: tuple[str, ...] = ()
    script = ""

    def do_GET(self) -> None:
        came = self.headers.get("cookie", "")
        data = f"<!doctype html><title>tenant</title><p id=came>{came}</p><script>{self.script}</script>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(data)))
        for cookie in self.cookies:
            self.send_header("set-cookie", cookie)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def service(cookies: tuple[str, ...] = (), script: str = "") -> Iterator[int]:
    """The port of a tenant's private service."""
    handler = type("Handler", (Tenant,), {"cookies": cookies, "script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def look(domain: str, port: int) -> dict[str, str]:
    """What reaches `victim` after a visit to `attacker`, and what the attacker gets of the victim's."""
    flags = (f"--host-resolver-rules=MAP *.{domain} 127.0.0.1", "--ignore-certificate-errors")
    with open_browser(flags=flags) as page:
        for name in ("victim", "attacker", "victim"):
            page.open(f"https://{name}.{domain}:{port}/")
        at_victim = page.text("#came")
        page.open(f"https://attacker.{domain}:{port}/")
        return {"victim": at_victim, "attacker": page.text("#came")}


@pytest.mark.parametrize(("domain", "shared"), [("example.test", True), ("github.io", False), ("localhost", False)])
async def test_a_cookie_for_the_parent_domain_reaches_the_neighbour_unless_it_is_a_public_suffix(
    world: World, domain: str, shared: bool
) -> None:
    require()
    of_attacker = (
        f"planted=by-header; Domain={domain}; Path=/; Secure",
        f"sid=tossed; Domain={domain}; Path=/; Secure",
        f"__Host-sid=tossed; Domain={domain}; Path=/; Secure",
    )
    script = f"document.cookie = 'scripted=by-script; Domain={domain}; Path=/; Secure'"
    of_victim = ("sid=own; Path=/; Secure; HttpOnly", "__Host-sid=own; Path=/; Secure; HttpOnly")
    with service(of_attacker, script) as attacker, service(of_victim) as victim:
        server = await world.ngrokd(f"-domain={domain}")
        tunnels = {"attacker": {"proto": {"https": attacker}}, "victim": {"proto": {"https": victim}}}
        await world.ngrokc(tunnels, server)
        came = await trio.to_thread.run_sync(look, domain, server.https_port)
    cookies = came["victim"].split("; ")
    assert cookies.count("__Host-sid=own") == 1
    assert "__Host-sid=tossed" not in cookies
    assert "sid=own" in cookies
    planted = {"planted=by-header", "scripted=by-script", "sid=tossed"}
    assert planted & set(cookies) == (planted if shared else set())
    assert "own" not in came["attacker"]
