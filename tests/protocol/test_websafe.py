"""Requests that a page of another site can make a browser send."""

from __future__ import annotations

import pytest

from protocol.websafe import allowed_hosts, came_through_proxy, from_own_page, is_json

HOST = "localhost:4041"


def test_hosts_are_loopback_and_the_listener_itself() -> None:
    assert allowed_hosts("127.0.0.1", 4041) == {"localhost:4041", "127.0.0.1:4041", "[::1]:4041"}
    assert "box:4041" in allowed_hosts("Box", 4041)
    assert "0.0.0.0:80" not in allowed_hosts("0.0.0.0", 80)
    assert "localhost" in allowed_hosts("", 80)
    assert "name.test" in allowed_hosts("", 80, ["Name.test"])


@pytest.mark.parametrize(
    ("headers", "navigation", "ours"),
    [
        ({}, False, True),
        ({"origin": "http://localhost:4041"}, False, True),
        ({"origin": "http://LOCALHOST:4041"}, False, True),
        ({"origin": "https://localhost:4041"}, False, False),
        ({"origin": "http://localhost"}, False, False),
        ({"origin": "null"}, False, False),
        ({"sec-fetch-site": "none"}, False, True),
        ({"sec-fetch-site": "cross-site"}, False, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, True, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, True, False),
    ],
)
def test_own_page(headers: dict[str, str], navigation: bool, ours: bool) -> None:
    assert from_own_page(headers, HOST, navigation=navigation) is ours


def test_proxies_leave_marks() -> None:
    assert came_through_proxy(["host", "x-forwarded-for"])
    assert not came_through_proxy(["host", "accept"])


def test_json() -> None:
    assert is_json("Application/JSON; charset=utf-8")
    assert not is_json("text/plain")
    assert not is_json("")
