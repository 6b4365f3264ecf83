"""Who gets to the operator's API: Host, Origin, fetch metadata, proxies, tokens, cookies, content types, rates."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.datastructures import Headers
from starlette.responses import Response

from ngrokd.admin import entry
from ngrokd.admin.audit import Audit
from ngrokd.admin.entry import AdminToken, Entry, load_token
from ngrokd.state import StateDirectory
from protocol.secret import Secret
from protocol.websafe import allowed_hosts

TOKEN = "t" * 43
HOST = "127.0.0.1:4041"
GOOD = {"host": HOST, "authorization": f"Bearer {TOKEN}"}


class Door:
    """An Entry and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        audit = Audit(structlog.get_logger(), lambda: self.now)
        hosts = allowed_hosts("127.0.0.1", 4041)
        self.entry = Entry(app, AdminToken(Secret(TOKEN)), hosts, audit, lambda: self.now)

    def ask(self, headers: Mapping[str, str], method: str = "GET", path: str = "/api/status") -> int:
        """The status of the refusal, 200 when it is let in."""
        raw = [(key.encode(), value.encode()) for key, value in headers.items()]
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": raw,
            "client": ("127.0.0.1", 1),
        }
        found = self.entry.refusal(scope, Headers(scope=scope))
        return 200 if found is None else found.status_code


async def app(scope: object, receive: object, send: object) -> None:
    """Never reached: only refusals are looked at."""


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (GOOD, 200),
        ({**GOOD, "host": "localhost:4041"}, 200),
        ({**GOOD, "host": "[::1]:4041"}, 200),
        ({**GOOD, "host": "evil.test:4041"}, 403),
        ({**GOOD, "host": "127.0.0.1:4042"}, 403),
        ({**GOOD, "host": "localhost:4041."}, 403),
        ({**GOOD, "host": ""}, 403),
        ({"authorization": f"Bearer {TOKEN}"}, 403),
        ({**GOOD, "origin": "http://evil.test"}, 403),
        ({**GOOD, "origin": "null"}, 403),
        ({**GOOD, "origin": f"http://{HOST}"}, 200),
        ({**GOOD, "sec-fetch-site": "cross-site"}, 403),
        ({**GOOD, "sec-fetch-site": "same-site"}, 403),
        ({**GOOD, "sec-fetch-site": "same-origin"}, 200),
        ({**GOOD, "x-forwarded-for": "192.0.2.7"}, 403),
        ({**GOOD, "via": "1.1 proxy"}, 403),
        ({"host": HOST}, 401),
        ({"host": HOST, "authorization": "Bearer wrong"}, 401),
        ({"host": HOST, "authorization": f"Basic {TOKEN}"}, 401),
        ({"host": HOST, "authorization": "Bearer "}, 401),
    ],
)
def test_who_is_let_in(headers: dict[str, str], status: int) -> None:
    assert Door().ask(headers) == status


def test_the_cookie_is_as_good_as_the_token_and_is_not_the_token() -> None:
    door = Door()
    cookie = door.entry._token.cookie.reveal()
    assert TOKEN not in cookie
    assert door.ask({"host": HOST, "cookie": f"a=b; ngrokd_4041={cookie}"}) == 200
    assert door.ask({"host": HOST, "cookie": f"ngrokd_4042={cookie}"}) == 401
    assert door.ask({"host": HOST, "cookie": f"ngrokd_4041={TOKEN}"}) == 401
    assert door.ask({"host": HOST, "authorization": f"Bearer {cookie}"}) == 401


def test_changes_are_json_or_nothing() -> None:
    door = Door()
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"):
        assert door.ask({**GOOD, "content-type": kind}, "POST", "/api/drain") == 415
    assert door.ask({**GOOD, **JSON}, "POST", "/api/drain") == 200
    assert door.ask({**GOOD, "content-type": "application/json; charset=utf-8"}, "DELETE") == 200


def test_health_needs_nothing_and_the_page_needs_no_token() -> None:
    door = Door()
    assert door.ask({}, path="/healthz") == 200
    assert door.ask({"host": HOST}, path="/") == 200
    assert door.ask({"host": "evil.test"}, path="/") == 403
    assert door.ask({"host": HOST}, path="/metrics") == 401
    link = {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert door.ask(link, path="/") == 200
    assert door.ask({**link, **GOOD}, path="/api/status") == 403
    assert door.ask({**link, "sec-fetch-dest": "iframe"}, path="/") == 403


def test_guessing_is_slow() -> None:
    door = Door()
    found = [door.ask({"host": HOST, "authorization": f"Bearer {number}"}) for number in range(30)]
    assert found[0] == 401
    assert found[-1] == 429
    assert door.ask(GOOD) == 200  # who has it gets in all the same
    assert door.entry.log_in("wrong", HOST, "127.0.0.1").status_code == 429
    door.now += 60
    assert door.entry.log_in("wrong", HOST, "127.0.0.1").status_code == 401
    answer = door.entry.log_in(TOKEN, HOST, "127.0.0.1")
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_a_flood_is_limited() -> None:
    door = Door()
    assert [door.ask(GOOD) for _ in range(400)].count(429) > 100
    door.now += 10
    assert door.ask(GOOD) == 200


def test_the_token_file_is_private_and_stays(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    first = load_token(state)
    path = state.file(entry.TOKEN_FILE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_token(state).secret.matches(first.secret)
    path.write_text("short")
    assert not load_token(state).secret.matches("short")
    assert first.secret.reveal() not in repr(first)


def test_logging_out_takes_the_cookie_away() -> None:
    answer: Response = entry.log_out(HOST)
    assert 'ngrokd_4041=""' in answer.headers["set-cookie"]
