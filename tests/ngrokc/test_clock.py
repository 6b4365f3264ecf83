"""Sleep and clock jumps are noticed; busy machines and slow clocks are not taken for one."""

import pytest
import trio
import trio.testing

from ngrokc.clock import TICK, Clocks, boottime, jump, watch


@pytest.mark.parametrize(
    ("elapsed", "wall", "word"),
    [
        (2.0, 2.0, None),
        (4.9, 4.9, None),
        (0.0, 0.0, None),
        (60.0, 60.0, "asleep"),
        (2.0, -58.0, "-60 s"),
        (2, 902, "+900 s"),
    ],
)
def test_jump(elapsed: float, wall: float, word: str | None) -> None:
    reason = jump(2.0, elapsed, wall)
    assert reason is None if word is None else word in str(reason)


def test_boottime_goes_forward() -> None:
    assert boottime() <= boottime()


async def test_watch_reports_each_jump_once(autojump_clock: trio.testing.MockClock) -> None:
    passed = iter([0.0, 2.0, 4.0, 3604.0, 3606.0, 3608.0])
    now = [0.0]

    def elapsed() -> float:
        now[0] = next(passed)
        return now[0]

    jumps: list[str] = []
    with trio.move_on_after(TICK * 5 + 1):
        await watch(jumps.append, Clocks(elapsed, lambda: now[0]))
    assert len(jumps) == 1
    assert "3598 s" in jumps[0]
