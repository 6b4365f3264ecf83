"""Our legs against a yamux of another hand (hashicorp's, in Go). Skipped where go or its module proxy can't be had."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from protocol.link.leg import Leg, LegShared
from protocol.link.plain import PlainPort
from protocol.link.port import PortBroken
from protocol.mux import Role
from tests.kit.muxpair import pattern
from tests.kit.ports import Collector, running
from tests.protocol.link.test_leg import Writer, echo

SOURCE = Path(__file__).parent / "yamux_peer"


@pytest.fixture(scope="module")
def peer_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    program = tmp_path_factory.mktemp("yamux") / "peer"
    try:
        built = subprocess.run(
            [go, "build", "-o", program, "."], cwd=SOURCE, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        pytest.skip("go took too long, perhaps waiting for its module proxy")
    if built.returncode:
        pytest.skip(f"the Go program can't be built here: {built.stderr.strip()[-300:]}")
    return str(program)


@contextlib.contextmanager
def peer(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], PlainPort]]:
    """The Go program with a connection to it."""
    with subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield process, PlainPort(socket.create_connection(("127.0.0.1", port)))
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def leg_to(port: PlainPort, role: Role, ends: list[str]) -> AsyncIterator[Leg]:
    async with running("epoll") as reactor:
        leg = Leg(reactor, port, role=role, on_stream=echo, on_end=ends.append, shared=LegShared())
        yield leg
        leg.abort()
        with trio.fail_after(5):
            while not ends:
                await trio.sleep(0)


@pytest.mark.parametrize("window", ["262144", "4194304"])
async def test_go_opens_streams_and_gets_every_byte_back(peer_program: str, window: str) -> None:
    with peer(peer_program, "-role", "server", "-streams", "30", "-bytes", "700000", "-window", window) as (
        process,
        port,
    ):
        ends: list[str] = []
        async with leg_to(port, Role.CLIENT, ends) as leg:
            assert process.stdout is not None
            with trio.fail_after(30):
                said = await trio.to_thread.run_sync(process.stdout.readline)
                assert said == "ok true\n", process.stderr and process.stderr.read()
                while not ends:  # its go away, with no streams left, ends the leg
                    await trio.sleep(0.01)
            assert ends == ["drained"]
            assert leg.rtt is not None


async def test_we_open_streams_and_go_gives_every_byte_back(peer_program: str) -> None:
    with peer(peer_program, "-role", "client") as (process, port):
        ends: list[str] = []
        async with leg_to(port, Role.SERVER, ends) as leg:
            wanted = [pattern(number, 0, 100_000 * number + 1) for number in range(20)]
            collectors = []
            with leg.reactor.turn():
                for data in wanted:
                    stream = leg.open()
                    collectors.append(Collector(stream))
                    Writer(stream, data)
            for collector, data in zip(collectors, wanted, strict=True):
                await collector.until(lambda it: it.ended)
                assert bytes(collector.data) == data
            assert leg.streams == 0
            doomed = leg.open()
            doomed.write(b"x")
            doomed.abort()
            again = leg.open()
            collector = Collector(again)
            Writer(again, b"still fine")
            await collector.until(lambda it: it.ended)
            assert bytes(collector.data) == b"still fine"
            leg.close()
            with pytest.raises(PortBroken):
                leg.open()
            assert process.stdout is not None
            with trio.fail_after(10):
                assert await trio.to_thread.run_sync(process.stdout.readline) == "over\n"
