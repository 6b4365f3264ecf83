from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ngrokc.inspect.inspector import Inspector
from ngrokc.inspect.settings import InspectSettings, Limits
from ngrokc.inspect.tap import CountingTap, HttpTap
from ngrokc.inspect.web.server import listen
from ngrokc.options import TunnelOptions
from protocol.address import Upstream
from tests.kit.inspection import FakeAgent, FakeRoute, FakeVisit, open_inspection

GET = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000


def test_nobody_taps_while_nobody_serves() -> None:
    assert Inspector().open(FakeRoute(None), FakeVisit()) is None
    assert Inspector().login_url == ""


async def test_taps_by_protocol_and_option() -> None:
    async with open_inspection() as it:
        assert isinstance(it.inspector.open(FakeRoute(None), FakeVisit()), HttpTap)
        assert isinstance(it.inspector.open(FakeRoute(None, protocol="tcp"), FakeVisit()), CountingTap)
        assert it.inspector.open(FakeRoute(None, options=TunnelOptions(inspect=False)), FakeVisit()) is None


async def test_visitors_are_counted_without_events_of_each() -> None:
    async with open_inspection() as it:
        assert not it.agent.events.heard
        it.send(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n", end=False)
        it.send(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n")
        tap = it.inspector.open(FakeRoute(None, protocol="tcp"), FakeVisit())
        assert tap is not None
        tap.closed(None)
        meters = it.inspector.journal.meters("test")
        assert (meters.gauge, meters.connections.count) == (1, 2)


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    settings = InspectSettings(
        port=0, token_file=tmp_path / "token", spool_parent=tmp_path, limits=Limits(disk=1 << 20)
    )
    async with open_inspection(settings=settings) as it:
        it.send(GET)
        assert max(path.name for path in tmp_path.iterdir()) == "token"
        assert len(list(tmp_path.iterdir())) == 2
        inspector = it.inspector
    assert list(tmp_path.iterdir()) == []
    assert inspector.address is None
    assert inspector.open(FakeRoute(None), FakeVisit()) is None


async def test_the_next_port_when_one_is_taken() -> None:
    taken = listen("127.0.0.1", 0)
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        await Inspector(InspectSettings(port=port)).serve(FakeAgent())
    async with trio.open_nursery() as nursery:
        inspector = Inspector(InspectSettings(port=port, port_span=20))
        url = await nursery.start(inspector.serve, FakeAgent())
        assert url != f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()
    taken.close()


async def test_upstreams_that_are_the_inspector() -> None:
    async with open_inspection() as it:
        assert it.inspector.address is not None
        port = it.inspector.address[1]
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"):
            assert it.inspector.refuses(Upstream("tcp", host, port))
        assert not it.inspector.refuses(Upstream("tcp", "127.0.0.1", port - 1))
        assert not it.inspector.refuses(Upstream("unix", path="/x"))
        assert not it.inspector.refuses(None)
