"""`make demo` shows a request going through and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.kit.programs import ROOT, Program, World

WORDS = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "assets.demo")


async def test_the_demo(world: World) -> None:
    demo = await world.start(Program, "demo", [*WORDS, "--once"])
    await demo.line(r"http://demo\.localhost:\d+ -> 127\.0\.0\.1:\d+")
    await demo.line("< HTTP/1.1 200")
    await demo.line("in a browser on this machine")
    await demo.line("everything has ended")
    assert await demo.wait() == 0


async def test_it_leaves_the_state_of_a_real_server_alone(world: World) -> None:
    """As root ngrokd's state is in /var/lib/ngrokd, where a server may be at work: the demo failed beside one."""
    demo = await world.start(Program, "demo", WORDS)
    await demo.line("Ctrl-C ends the demo")
    # trio starts processes in threads, and a child is listed with the thread that made it, or its heir
    children = [
        child for task in Path(f"/proc/{demo.pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    lines = [Path(f"/proc/{child}/cmdline").read_text().split("\0") for child in children]
    (server,) = [words for words in lines if any(word.startswith("-tunnelAddr=") for word in words)]
    (state,) = [Path(word.removeprefix("-stateDir=")) for word in server if word.startswith("-stateDir=")]
    assert (state / "ngrokd.lock").exists()
    os.kill(demo.pid, signal.SIGINT)
    await demo.line("everything has ended")
    await demo.wait()
    assert not state.exists()
