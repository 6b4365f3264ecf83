"""Figures with crowds: the server dies, all links are cut, clocks jump, the agents' machine sleeps."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.figures.stage import Stage, Table, answered, load
from tests.kit.programs import Server

RATE = 100.0  # visitors a second while a server is killed
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
JUMPS = (30, -30, 3600, -3600, 86400, -86400)
SETTLE = 6.0  # seconds to show an effect: a tick of the clock watch, and a probe
SLEEP = 40.0
SLEEPERS = 20


async def server_killed(stage: Stage, table: Table, *, count: int) -> None:
    """C5: kill -9 under load, restarted at once on the same ports and state."""
    server = await stage.world.ngrokd("-grace=1", https=False)
    began = trio.current_time()
    crowd = await stage.crowd(server, count)
    urls = await crowd.online(count)
    table.add("C5", f"{count} agents: online after start", f"{trio.current_time() - began:.1f} s")
    failures: list[float] = []
    async with trio.open_nursery() as visitors:
        visitors.start_soon(load, urls, RATE, failures)
        await trio.sleep(5)
        before = len(failures)
        killed = trio.current_time()
        await server.kill()
        await stage.world.ngrokd("-grace=1", https=False, name="again", like=server)
        listening = trio.current_time()
        most, everyone = await answered(urls)
        visitors.cancel_scope.cancel()
    same = _same(urls, await crowd.online(count))
    table.add("C5", f"{count} agents: visitors refused before the kill", str(before))
    table.add("C5", f"{count} agents: kill to listening again", f"{listening - killed:.1f} s")
    table.add("C5", f"{count} agents: listening to 99 % / all answering", _span(listening, most, everyone))
    table.add("C5", f"{count} agents: same names and ports", f"{same:.1%}")


async def all_cut(stage: Stage, table: Table, *, count: int) -> None:
    """C24: every control link and leg ends in the same moment."""
    server = await stage.world.ngrokd(https=False)
    crowd = await stage.crowd(server, count)
    urls = await crowd.online(count)
    failures: list[float] = []
    cut_at = trio.current_time()
    links = await crowd.ask("cut")
    most, everyone = await answered(urls)
    same = _same(urls, await crowd.online(count))
    table.add("C24", f"{count} agents, {links} links cut: 99 % / all answering", _span(cut_at, most, everyone))
    table.add("C24", f"{count} agents: same names and ports", f"{same:.1%}")
    assert not failures


async def clock_jumps(stage: Stage, table: Table, *, monotonic: bool) -> None:
    """C18: the clocks of both programs are moved; with `monotonic` the monotonic ones too, and then only forwards, as a
    monotonic clock does after a sleep."""
    if not FAKETIME.exists():
        table.add("C18", "clock jumps", "not measured: the faketime package is not installed")
        return
    offset = stage.world.path / "offset"
    _set(offset, 0)
    fake = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
    }
    server = await _server_in(stage, fake)
    crowd = await stage.crowd(server, SLEEPERS, env=fake)
    urls = await crowd.online(SLEEPERS)
    await crowd.ask("drops")
    jumps = [30, 3600, 86400] if monotonic else JUMPS
    failures: list[float] = []
    dropped: list[str] = []
    async with trio.open_nursery() as visitors:
        visitors.start_soon(load, urls, 20, failures)
        total = 0
        for jump in jumps:
            total += jump
            _set(offset, total)
            await trio.sleep(SETTLE)
            dropped += await crowd.ask("drops")
        visitors.cancel_scope.cancel()
    noticed = [text for text in await crowd.ask("notices") if "clock" in text or "asleep" in text]
    clocks = "wall and monotonic" if monotonic else "wall"
    what = f"{clocks} clock moved by {', '.join(f'{jump:+d}' for jump in jumps)} s, {SLEEPERS} agents"
    table.add("C18", what, f"{len(dropped)} sessions lost, {len(failures)} visitors refused")
    table.add("C18", "  the agents noticed", f"{len(noticed)} of {SLEEPERS * len(jumps)} jumps")
    for reason in sorted(set(dropped)):
        table.add("C18", "  reason", reason)
    assert _same(urls, await crowd.online(SLEEPERS)) == 1


async def slept(stage: Stage, table: Table) -> None:
    """C18: the agents' process stands still, long enough for the server to give them up."""
    server = await stage.world.ngrokd(https=False)
    crowd = await stage.crowd(server, SLEEPERS)
    urls = await crowd.online(SLEEPERS)
    crowd.signal(signal.SIGSTOP)
    await trio.sleep(SLEEP)
    crowd.signal(signal.SIGCONT)
    woken = trio.current_time()
    most, everyone = await answered(urls)
    table.add("C18", f"{SLEEPERS} agents stopped for {SLEEP:.0f} s: 99 % / all answering", _span(woken, most, everyone))
    table.add("C18", "same names and ports", f"{_same(urls, await crowd.online(SLEEPERS)):.1%}")


async def _server_in(stage: Stage, environment: dict[str, str]) -> Server:
    """An ngrokd with more in its environment: `env` sets it and then becomes ngrokd."""
    plain = stage.world.environment
    stage.world.environment = lambda name: {**plain(name), **environment}  # type: ignore[method-assign]
    return await stage.world.ngrokd(https=False)


def _set(file: Path, seconds: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.replace(file)


def _span(began: float, most: float, everyone: float) -> str:
    return f"{most - began:.2f} s / {everyone - began:.2f} s"


def _same(before: list[str], after: list[str]) -> float:
    return sum(one == other for one, other in zip(before, after, strict=True)) / len(before)
