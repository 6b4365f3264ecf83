"""A tunnel is data; its repr is a state summary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ngrokd.tunnel import Tunnel


def test_the_repr_names_url_session_and_load() -> None:
    session: Any = SimpleNamespace(client_id="0123456789abcdef")
    tunnel = Tunnel("t1", "http://x.me", "http", "x.me", 0, session, None)
    tunnel.traffic.live += 2
    assert repr(tunnel) == "<Tunnel http://x.me of session 01234567 live=2>"
