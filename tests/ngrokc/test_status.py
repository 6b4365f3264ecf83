"""Statuses name each protocol of each tunnel."""

from ngrokc.status import tunnel_statuses
from ngrokc.tunnel_spec import TunnelSpec, no_upstreams
from ngrokc.tunnels import TunnelBook


def test_statuses() -> None:
    book = TunnelBook([TunnelSpec("a", no_upstreams(("http", "https"))), TunnelSpec("b", no_upstreams(("tcp",)))])
    tunnel = book.get("a")
    assert tunnel is not None
    tunnel.endpoints["http"].state, tunnel.endpoints["http"].url = "online", "http://x"
    found = tunnel_statuses(book)
    assert [(entry.name, entry.protocol, entry.state, entry.url) for entry in found] == [
        ("a", "http", "online", "http://x"),
        ("a", "https", "waiting", ""),
        ("b", "tcp", "waiting", ""),
    ]
    assert [entry.name for entry in tunnel_statuses(book, "b")] == ["b"]
    assert found[0].upstream == "this program"
