"""One process replaces another under load: no visitor is refused, no upload broken, no WebSocket cut before its time.

`ROLLING=10 RATE=500` in the environment make the whole measurement of it (C9 of the fault model); by default it is short.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections import Counter
from dataclasses import dataclass, field

import pytest
import trio

from tests.kit.classic_client import ClassicClient, Wish
from tests.kit.programs import Program, Server, World, script
from tests.kit.upstream import Upstream
from tests.ngrokd.test_server import trusting

ROLLING = int(os.environ.get("ROLLING", "2"))
RATE = int(os.environ.get("RATE", "150"))
SOCKETS = int(os.environ.get("SOCKETS", "5"))
VISITORS = 10
HOST = "test.localhost"
PIECES, PIECE = 16, b"u" * 8192


@dataclass
class Tally:
    """What happened; `over` ends the load."""

    port: int
    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    over: bool = False


class Connection:
    """A visitor that keeps its connection as long as the server does."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.stream: trio.SocketStream | None = None
        self.buffer = b""

    async def ask(self, head: str, body: bytes = b"", *, slowly: bool = False) -> tuple[int, bytes]:
        if self.stream is None:
            self.stream, self.buffer = await trio.open_tcp_stream("127.0.0.1", self.tally.port), b""
        await self.stream.send_all(f"{head}\r\nHost: {HOST}\r\n\r\n".encode())
        for start in range(0, len(body), len(PIECE)):
            await self.stream.send_all(body[start : start + len(PIECE)])
            if slowly:
                await trio.sleep(0.1)
        while b"\r\n\r\n" not in self.buffer:
            await self._more()
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = raw.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        while len(self.buffer) < length:
            await self._more()
        answer, self.buffer = self.buffer[:length], self.buffer[length:]
        if b"connection: close" in lines:
            await self.stream.aclose()
            self.stream = None
        return int(lines[0].split()[1]), answer

    async def _more(self) -> None:
        assert self.stream is not None
        data = await self.stream.receive_some()
        if not data:
            raise ConnectionError("the connection ended before its answer")
        self.buffer += data

    def drop(self) -> None:
        if self.stream is not None:
            self.stream.socket.close()
            self.stream = None


async def requests(tally: Tally) -> None:
    visitor = Connection(tally)
    due = trio.current_time()
    while not tally.over:
        try:
            with trio.fail_after(15):
                status, _ = await visitor.ask("GET /bytes/100 HTTP/1.1")
            if status != 200:
                tally.failures.append(f"request: {status}")
            tally.done["requests"] += 1
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            tally.failures.append(f"request: {error!r}")
            visitor.drop()
        due += VISITORS / RATE
        await trio.sleep_until(max(due, trio.current_time()))
    visitor.drop()


async def uploads(tally: Tally) -> None:
    body = PIECE * PIECES
    while not tally.over:
        visitor = Connection(tally)
        try:
            head = f"POST /upload HTTP/1.1\r\nContent-Length: {len(body)}"
            with trio.fail_after(20):
                status, answer = await visitor.ask(head, body, slowly=True)
            if status != 200 or json.loads(answer)["sha256"] != hashlib.sha256(body).hexdigest():
                tally.failures.append(f"upload: {status} {answer[:100]!r}")
            tally.done["uploads"] += 1
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            tally.failures.append(f"upload: {error!r}")
        visitor.drop()


UPGRADE = (
    f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def websockets(tally: Tally) -> None:
    """Each lives two seconds and says something every 0.2 s; masked text frames of one letter."""
    while not tally.over:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", tally.port)
            async with stream:
                with trio.fail_after(20):
                    await stream.send_all(UPGRADE.encode())
                    buffer = b""
                    while b"\r\n\r\n" not in buffer:
                        buffer += await receive(stream)
                    assert b" 101 " in buffer.partition(b"\r\n")[0], buffer
                    for _ in range(10):
                        await stream.send_all(b"\x81\x81\x00\x00\x00\x00x")
                        echo = b""
                        while len(echo) < 3:
                            echo += await receive(stream)
                        assert echo == b"\x81\x01x", echo
                        await trio.sleep(0.2)
            tally.done["websockets"] += 1
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, AssertionError) as error:
            tally.failures.append(f"websocket: {error!r}")


async def receive(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise ConnectionError("ended")
    return data


def tell(programs: list[Server]) -> None:
    """What the servers said around a failure."""
    for program in programs:
        for line in program.lines:
            event = json.loads(line)
            print(event["time"], program.name, event["event"], event.get("code", ""), event.get("reason", ""))


@pytest.mark.timeout(200)
async def test_rolling_restarts_under_load(world: World, upstream: Upstream) -> None:
    server: Server = await world.ngrokd("-grace=8", https=False)
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    tally = Tally(server.http_port)
    old: list[Server] = [server]
    async with trio.open_nursery() as nursery:
        for _ in range(VISITORS):
            nursery.start_soon(requests, tally)
        for _ in range(SOCKETS):
            nursery.start_soon(uploads, tally)
            nursery.start_soon(websockets, tally)
        for number in range(ROLLING):
            await trio.sleep(2)
            old.append(await world.ngrokd("-grace=8", "-takeOver", name=f"ngrokd-{number}", like=server))
        await trio.sleep(2)
        tally.over = True
    print(dict(tally.done), len(tally.failures), tally.failures[:5])
    for program in old[:-1]:
        assert await program.wait(within=15) == 0
    if tally.failures:
        tell(old)
    assert tally.failures == []
    assert tally.done["requests"] > RATE
    assert tally.done["uploads"]
    assert tally.done["websockets"]


async def test_a_successor_that_fails_leaves_the_other_as_it_was(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd("-grace=1", https=False)
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    words = [
        "-domain=localhost", f"-stateDir={server.state}", f"-httpAddr=127.0.0.1:{server.http_port}", "-httpsAddr=",
        f"-tunnelAddr=127.0.0.1:{server.tunnel_port}", "-takeOver", "-log=stdout",
    ]  # fmt: skip
    page = world.path / "pages"
    page.mkdir()
    (page / "page.html").write_text("$nonsense")
    words.append(f"-errorPages={page}")
    failing = await world.start(Program, "failing", [script("ngrokd"), *words])
    failing.expected_code = None
    assert await failing.wait() != 0
    visitor = Connection(Tally(server.http_port))
    assert (await visitor.ask("GET /bytes/10 HTTP/1.1"))[0] == 200
    visitor.drop()


async def test_a_signal_starts_a_successor(world: World, upstream: Upstream) -> None:
    """SIGUSR2: one that can't start changes nothing and its reason is in the log; one that can takes over."""
    pages = world.path / "pages"
    pages.mkdir()
    server = await world.ngrokd("-grace=1", f"-errorPages={pages}", https=False)
    server.traceback_expected = False
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server)
    (pages / "page.html").write_text("$nonsense")
    os.kill(server.pid, signal.SIGUSR2)
    line = json.loads(await server.line("did not start"))
    assert "page.html" in line["reason"]
    visitor = Connection(Tally(server.http_port))
    assert (await visitor.ask("GET /bytes/10 HTTP/1.1"))[0] == 200
    (pages / "page.html").unlink()
    os.kill(server.pid, signal.SIGUSR2)
    started = json.loads(await server.line("a successor is starting"))
    await server.line("ngrokd is up")  # it says so on the same stdout
    try:
        assert (await visitor.ask("GET /bytes/10 HTTP/1.1"))[0] == 200
        visitor.drop()
        assert (await visitor.ask("GET /bytes/10 HTTP/1.1"))[0] == 200
        visitor.drop()
        with trio.fail_after(10):
            await server.process.wait()
        assert server.process.returncode == 0
    finally:
        os.kill(started["pid"], signal.SIGTERM)
    assert await server.wait() == 0


async def test_who_kept_a_connection_open_is_served_by_the_successor(world: World, upstream: Upstream) -> None:
    """The tunnel of a 1.7 agent is the new process's by now; the old one passes the request on."""
    server = await world.ngrokd("-grace=20", https=False)
    wish = Wish(("127.0.0.1", upstream.http_port), "http", subdomain="test")
    body = PIECE * PIECES
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ClassicClient(("127.0.0.1", server.tunnel_port), trusting(), wish).run)
        await server.line("tunnel online")
        visitors = [Connection(Tally(server.http_port)) for _ in range(3)]
        for visitor in visitors:
            assert (await visitor.ask("GET /bytes/10 HTTP/1.1"))[0] == 200
        successor = await world.ngrokd("-grace=1", "-takeOver", name="successor", like=server)
        await server.line("agent left")
        for visitor in visitors[:2]:  # the agent may be on its way
            status, answer = await visitor.ask(f"POST /upload HTTP/1.1\r\nContent-Length: {len(body)}", body)
            assert (status, json.loads(answer)["sha256"]) == (200, hashlib.sha256(body).hexdigest())
            assert visitor.stream is None  # it was told so
        await successor.line("tunnel online")
        visitors[2].drop()
        assert await server.wait() == 0
        nursery.cancel_scope.cancel()


async def test_a_websocket_is_told_that_the_server_goes_away(
    world: World, upstream: Upstream, dialect: dict[str, object]
) -> None:
    """RFC 6455, 7.4.1: 1001, and an orderly end, when the grace is over."""
    server = await world.ngrokd("-grace=0.3", https=False)
    await world.ngrokc({"test": {"proto": {"http": upstream.http_port}}}, server, settings=dialect)
    async with await trio.open_tcp_stream("127.0.0.1", server.http_port) as stream:
        await stream.send_all(UPGRADE.encode())
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += await receive(stream)
        await stream.send_all(b"\x81\x81\x00\x00\x00\x00x")
        assert await receive(stream) == b"\x81\x01x"
        server.process.terminate()
        with trio.fail_after(10):
            assert await receive(stream) == b"\x88\x02\x03\xe9"
            assert await stream.receive_some() == b""
    assert await server.wait() == 0
