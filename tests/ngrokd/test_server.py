"""The whole server in one process: real listeners, agents that are faithful to 1.7, an orderly end."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
import trio

from ngrokd.server import Server
from ngrokd.settings import Settings, settings_from
from protocol.errors import ConfigError, Fault
from protocol.frames import FrameDecoder, frame
from protocol.messages import Auth, AuthResp, GoAway, Message
from tests.kit.classic_client import ClassicClient, Wish
from tests.kit.go_wire import Journal, Tricks, connect


def settings(tmp_path: Path, **more: object) -> Settings:
    return settings_from(
        {
            "domain": "localhost",
            "http_addr": "127.0.0.1:0",
            "https_addr": "127.0.0.1:0",
            "tunnel_addr": "127.0.0.1:0",
            "state_dir": str(tmp_path / "state"),
            "grace": "0.05",
            **more,
        }
    )


@contextlib.asynccontextmanager
async def running(config: Settings) -> AsyncIterator[Server]:
    """A server that is stopped in order when the block ends."""
    server = Server(config, structlog.get_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        with trio.fail_after(15):
            yield server
            server.stop()
            await server.stopped.wait()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def agent_for(server: Server, *wishes: Wish) -> ClassicClient:
    return ClassicClient(("127.0.0.1", server.addresses["tunnel"][0].port), trusting(), *wishes)


async def echo_once(stream: trio.SocketStream) -> None:
    data = await stream.receive_some()
    assert data.startswith(b"GET / HTTP/1.1\r\n")
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    await trio.sleep_forever()


async def get(port: int, host: str, tls: ssl.SSLContext | None = None) -> bytes:
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    if tls is not None:
        stream = trio.SSLStream(stream, tls, server_hostname=host)
    async with stream:
        await stream.send_all(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        found = b""
        while b"hi" not in found and b"\r\n\r\n" not in found:
            found += await stream.receive_some()
        return found


async def test_a_1_7_agent_serves_http_https_and_tcp(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server, trio.open_nursery() as nursery:
        local = await nursery.start(
            lambda task_status: trio.serve_tcp(echo_once, 0, host="127.0.0.1", task_status=task_status)
        )
        where = local[0].socket.getsockname()[:2]
        agent = agent_for(server, Wish(where, "http+https", subdomain="test"), Wish(where, "tcp"))
        nursery.start_soon(agent.run)
        while len(agent.urls) < 3:
            await trio.sleep(0.005)
        http, https = (server.addresses[name][0].port for name in ("http", "https"))
        assert {f"http://test.localhost:{http}", f"https://test.localhost:{https}"} <= set(agent.urls)
        assert b"200 OK" in await get(http, "test.localhost")
        assert b"200 OK" in await get(https, "test.localhost", trusting())
        tcp = next(int(url.rpartition(":")[2]) for url in agent.urls if url.startswith("tcp:"))
        assert b"200 OK" in await get(tcp, "whatever")
        assert b"404" in await get(http, "other.localhost")
        nursery.cancel_scope.cancel()


async def test_random_names_come_back_after_a_restart(tmp_path: Path) -> None:
    config = settings(tmp_path)
    names: list[str] = []
    client_id = ""
    for _ in range(2):
        async with running(config) as server, trio.open_nursery() as nursery:
            agent = agent_for(server, Wish(("127.0.0.1", 1), "http"))
            agent.client_id = client_id
            nursery.start_soon(agent.run)
            while not agent.urls:
                await trio.sleep(0.005)
            client_id = agent.client_id
            names.append(next(iter(agent.urls)).removeprefix("http://").partition(".")[0])
            nursery.cancel_scope.cancel()
    assert names[0] == names[1]


async def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with running(settings(tmp_path)):
        pass  # what is opened once for the process is open now
    before, tasks = descriptors(), trio.lowlevel.current_statistics().tasks_living
    async with running(settings(tmp_path)) as server, trio.open_nursery() as nursery:
        agent = agent_for(server, Wish(("127.0.0.1", 1), "http+tcp", subdomain="test"))
        nursery.start_soon(agent.run)
        while len(agent.urls) < 2:
            await trio.sleep(0.005)
        visitor = await trio.open_tcp_stream("127.0.0.1", server.addresses["http"][0].port)
        nursery.cancel_scope.cancel()
    await visitor.aclose()
    assert descriptors() == before
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_cancelling_is_an_end_too(tmp_path: Path) -> None:
    server = Server(settings(tmp_path), structlog.get_logger())
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        nursery.cancel_scope.cancel()
    assert server.stopped.is_set()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", server.addresses["http"][0].port)


async def test_a_draining_server_takes_no_visitors_and_waits_for_those_it_has(tmp_path: Path) -> None:
    async with running(settings(tmp_path, grace="5")) as server:
        port = server.addresses["http"][0].port
        visitor = await trio.open_tcp_stream("127.0.0.1", port)
        while not server.live_visitors:
            await trio.sleep(0.005)
        server.stop()
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                break
            await trio.sleep(0.005)
        assert not server.stopped.is_set()
        await visitor.aclose()
        await server.stopped.wait()


async def test_a_native_agent_is_told_that_the_server_shuts_down(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        conn = await connect(("127.0.0.1", server.addresses["tunnel"][0].port), trusting(), Tricks(), Journal())
        await conn.stream.send_all(frame(Auth(caps=("bye",))))
        decoder = FrameDecoder()
        server_says: list[Message] = []
        while not any(isinstance(message, GoAway) for message in server_says):
            decoder.feed(await conn.stream.receive_some())
            while (message := decoder.next()) is not None:
                server_says.append(message)
                if isinstance(message, AuthResp):
                    server.stop()
        assert server_says[-1] == GoAway(0, "shutdown")
        await conn.close()


async def test_the_summary_names_real_ports_and_the_pin(tmp_path: Path) -> None:
    async with running(settings(tmp_path, http_addr="")) as server:
        text = "\n".join(server.summary())
        assert "http " not in text
        assert f"127.0.0.1:{server.addresses['tunnel'][0].port}" in text
        assert "sha256:" in text
        assert repr(server.registry) == "<Registry sessions=0 names=0 ports=0>"


async def fault_of(config: Settings) -> Fault:
    server = Server(config, structlog.get_logger())
    with pytest.raises(Fault) as caught:
        await server.serve()
    return caught.value


async def test_what_keeps_it_from_starting_is_one_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fault = await fault_of(settings(tmp_path, https_addr=f"127.0.0.1:{port}"))
    assert "-httpsAddr" in fault.hint
    (tmp_path / "file").write_bytes(b"")
    assert isinstance(await fault_of(settings(tmp_path, state_dir=str(tmp_path / "file"))), ConfigError)
    assert "-adminAddr" in (await fault_of(settings(tmp_path, admin_addr=":0"))).message
