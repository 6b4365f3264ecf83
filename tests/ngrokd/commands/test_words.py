"""How answers look to people."""

from __future__ import annotations

import json

from ngrokd.commands import words


def test_tables_line_up() -> None:
    assert words.table(("A", "LONG"), [("alice", "x"), ("b", "")]) == "A      LONG\nalice  x\nb"


def test_times() -> None:
    assert words.moment(None, "never") == "never"
    assert words.moment(0.0, "never") == "1970-01-01 00:00"


def test_limits() -> None:
    assert words.limits({}) == "none"
    assert words.limits({"max_tunnels": 1, "max_bandwidth": 1_500_000, "max_requests": 0.5}) == (
        "1 tunnels; 0.5 requests/s; 1.5MB/s"
    )
    assert words.limits({"max_bandwidth": 524_288}) == "524288B/s"
    assert words.limits({"allow_hosts": ["a", "*.b"], "allow_ports": [[2000, 2100]]}) == "hosts a,*.b; ports 2000-2100"


def test_nothing_says_what_to_do() -> None:
    assert "ngrokd token add NAME" in words.tokens([])
    assert "ngrokd reserve NAME" in words.reservations([])


def test_the_set_up_keeps_the_token_off_command_lines() -> None:
    token = "nt_abc_secret"
    text = words.client_set_up({"token": token, "server": "example.me:4443"}, "Token alice")
    assert not [line for line in text.splitlines() if token in line and "ngrokc" in line]
    assert "checked as a browser does it" in text
    assert "checked as a browser" not in words.client_set_up({"token": f"{token}_pin", "server": "x"}, "Token alice")


def test_json() -> None:
    assert json.loads(words.as_json({"a": [1]})) == {"a": [1]}
