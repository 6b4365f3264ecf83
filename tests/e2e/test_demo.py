"""`make demo` shows a request going through and leaves nothing behind."""

from __future__ import annotations

import sys

from tests.kit.programs import ROOT, Program, World


async def test_the_demo(world: World) -> None:
    demo = await world.start(
        Program, "demo", ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "assets.demo", "--once"]
    )
    await demo.line(r"http://demo\.localhost:\d+ -> 127\.0\.0\.1:\d+")
    await demo.line("< HTTP/1.1 200")
    await demo.line("in a browser on this machine")
    await demo.line("everything has ended")
    assert await demo.wait() == 0
