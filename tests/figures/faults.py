"""Figures with one agent: killed, taken over, drowned in its own traffic; and strangers that announce absurd frames."""

from __future__ import annotations

import contextlib
import signal
import sys
from functools import partial
from pathlib import Path

import trio

from ngrokc.identity import Identity
from protocol.secret import Secret
from tests.figures.crowd import Crowd, serve_visitor
from tests.figures.stage import Stage, Table, ask
from tests.kit.programs import Program, Server
from tests.kit.visitor import trusting

VISITORS = 100
LENGTHS = (2**63 - 1, -1, 0, 65537)
STRANGERS = 1000
STRANGERS_AT_ONCE = 50  # of one address each; what counts is what one frame costs, not how many handshakes two cores do
WARM_UP = 100  # strangers before memory is read for the first time
SATURATED = 60.0  # seconds
NARROW = "--rtt 0.04 --rate 2500000"  # 40 ms, 20 Mbit/s each way: both programs fill it easily
FLOODS = 3  # visitors that send and receive all the time
BLOCK = bytes(65536)


async def serve(stage: Stage, name: bytes) -> int:
    listeners = await stage.nursery.start(
        partial(trio.serve_tcp, partial(serve_visitor, name), 0, host="127.0.0.1", backlog=1024)
    )
    port: int = listeners[0].socket.getsockname()[1]
    return port


# -- C6
async def agent_killed(stage: Stage, table: Table) -> None:
    """kill -9 of ngrokc: half of the visitors wait for an answer, half have got a part of one."""
    server = await stage.world.ngrokd(https=False)
    service = await serve(stage, b"here")
    agent = await stage.world.ngrokc({"test": {"proto": {"http": service}}}, server)
    url = agent.urls["http"]
    found: dict[str, list[tuple[float, bytes]]] = {"/hang": [], "/half": []}

    async def visit(path: str) -> None:
        data = await ask(url, path, within=60)
        found[path].append((trio.current_time(), data))

    async with trio.open_nursery() as visitors:
        for number in range(VISITORS):
            visitors.start_soon(visit, "/half" if number % 2 else "/hang")
        await trio.sleep(3)
        assert not any(found.values()), found
        killed = trio.current_time()
        agent.process.kill()
        while b" 404 " not in (await ask(url))[:16]:
            await trio.sleep(0.01)
        free = trio.current_time()
    waited = sorted(when - killed for entries in found.values() for when, _ in entries)
    codes = sorted({data[9:12].decode() or "nothing" for _, data in found["/hang"]})
    whole = sum(data.endswith(bytes(1000)) or b"Content-Length: 4" in data for _, data in found["/half"])
    table.add(
        "C6", f"{VISITORS} in flight: median / last told", f"{waited[len(waited) // 2]:.3f} s / {waited[-1]:.3f} s"
    )
    table.add("C6", "those who waited for a head got", ", ".join(codes))
    table.add("C6", "parts of a body that look complete", str(whole))
    table.add("C6", "name free (404)", f"{free - killed:.3f} s")


# -- C8
async def takeover(stage: Stage, table: Table) -> None:
    """The old process stands still, so its links look alive; the same agent comes back beside it."""
    server = await stage.world.ngrokd(https=False)
    old = await stage.crowd(server, 1, "named")
    url = (await old.online(1))[0]
    client_id, ticket = await old.ask("identity")
    old.signal(signal.SIGSTOP)
    service = await serve(stage, b"new owner")
    crowd = Crowd(server.tunnel_port, service)
    began = trio.current_time()
    stage.nursery.start_soon(crowd.run, crowd.add("crowd0", "named", Identity(client_id, Secret(ticket))))
    while not (await ask(url, within=0.05)).endswith(b"new owner"):  # the old one never answers
        await trio.sleep(0.005)
    table.add("C8", "name regained while the old session looks alive", f"{trio.current_time() - began:.3f} s")
    old.signal(signal.SIGCONT)
    answers = []
    for _ in range(100):
        answers.append((await ask(url)).endswith(b"new owner"))
        await trio.sleep(0.03)
    table.add("C8", "old one woken: answers by the new owner over 3 s", f"{sum(answers)} of {len(answers)}")
    table.add("C8", "the old one was told", "; ".join(await old.ask("drops")) or "nothing")
    assert crowd.dropped == []


# -- C14
def resident(program: Program) -> int:
    """KiB of memory that are its own."""
    for line in Path(f"/proc/{program.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no memory figure")


async def absurd_lengths(stage: Stage, table: Table) -> None:
    """Strangers shake hands and announce a frame of a length that cannot be."""
    server = await stage.world.ngrokd(https=False)
    waited: list[float] = []
    await _strangers(server, WARM_UP, [])
    before = peak = resident(server)
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            nonlocal peak
            while True:
                peak = max(peak, resident(server))
                await trio.sleep(0.1)

        nursery.start_soon(look)
        await _strangers(server, STRANGERS, waited)
        nursery.cancel_scope.cancel()
    await trio.sleep(1)
    after = resident(server)
    waited.sort()
    last = f"{waited[len(waited) // 2] * 1000:.1f} / {waited[int(len(waited) * 0.99)] * 1000:.1f} / {waited[-1] * 1000:.1f} ms"
    table.add("C14", f"{len(waited)} absurd lengths: closed after, median / p99 / last", last)
    table.add("C14", "memory of ngrokd: at most / after it", f"{peak - before:+d} / {after - before:+d} KiB")


async def _strangers(server: Server, count: int, waited: list[float]) -> None:
    limit = trio.CapacityLimiter(STRANGERS_AT_ONCE)
    context = trusting()

    async def one(number: int) -> None:
        async with limit:
            source = f"127.1.{number >> 8}.{number & 255}"
            plain = await trio.open_tcp_stream("127.0.0.1", server.tunnel_port, local_address=source)
            async with plain:
                stream = trio.SSLStream(plain, context, server_hostname="localhost")
                await stream.do_handshake()
                length = LENGTHS[number % len(LENGTHS)] & (2**64 - 1)
                began = trio.current_time()
                await stream.send_all(length.to_bytes(8, "little"))
                try:
                    assert not await stream.receive_some()
                except trio.BrokenResourceError:
                    pass  # closed without a goodbye, as good
                waited.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


# -- C30
async def saturated(stage: Stage, table: Table, *, narrow: bool) -> None:
    """Uploads and downloads fill the leg for a minute: a narrow line, or as fast as the two programs can."""
    server = await stage.world.ngrokd(https=False)
    reached = await _line(stage, server) if narrow else server
    moved = [0, 0]
    listeners = await stage.nursery.start(partial(trio.serve_tcp, _flood, 0, host="127.0.0.1"))
    service = listeners[0].socket.getsockname()[1]
    agent = await stage.world.ngrokc({"tcp": {"proto": {"tcp": service}}}, reached)
    port = int(agent.urls["tcp"].rpartition(":")[2])
    with trio.move_on_after(SATURATED):
        async with trio.open_nursery() as nursery:
            for _ in range(FLOODS):
                nursery.start_soon(_visit_flood, port, moved)
    lost = [line for line in agent.lines if "reconnecting" in line]
    lost += [line for line in server.lines if "agent left" in line or "no sign of life" in line]
    rate = f"{moved[0] * 8 / SATURATED / 1e6:.0f} up, {moved[1] * 8 / SATURATED / 1e6:.0f} down Mbit/s"
    what = "20 Mbit/s, 40 ms line" if narrow else "loopback"
    table.add("C30", f"leg full for {SATURATED:.0f} s ({what}, {rate})", f"{len(lost)} false deaths")
    for line in lost:
        table.add("C30", "  said", line[:200])


async def _line(stage: Stage, server: Server) -> Server:
    """A copy of `server` as it is reached through a narrow line."""
    words = [sys.executable, "-m", "tests.kit.delay", str(server.tunnel_port), *NARROW.split()]
    stage.world.environment = partial(_with_path, stage.world.environment)  # type: ignore[method-assign]
    line = await stage.world.start(Program, "line", words)
    said = await line.line('"port"')
    reached = Server("line", line.process)
    reached.tunnel_port = int(said.partition('"port":')[2].strip(" }"))
    return reached


def _with_path(plain: object, name: str) -> dict[str, str]:
    from tests.kit.programs import ROOT

    assert callable(plain)
    return {**plain(name), "PYTHONPATH": str(ROOT)}


async def _flood(stream: trio.SocketStream) -> None:
    """Both ways, for ever."""
    async with stream:
        await _both_ways(stream, [0, 0])


async def _visit_flood(port: int, moved: list[int]) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await _both_ways(stream, moved)


async def _both_ways(stream: trio.SocketStream, moved: list[int]) -> None:
    async def send() -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(BLOCK)
                moved[0] += len(BLOCK)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(65536):
                moved[1] += len(data)
        nursery.cancel_scope.cancel()
