"""Reloads by whoever asks: log files first, the supervisor told, and none of it stops the server."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from ngrokd.notify import Notifier
from ngrokd.reloading import Changes
from ngrokd.upkeep import RENEWAL_CHECK, Upkeep
from protocol.errors import ConfigError


class FakeReloader:
    """Notes what is asked of it; fails when told to."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen
        self.fails = False

    async def reload(self) -> Changes:
        self.seen.append("reload")
        if self.fails:
            raise ConfigError("nonsense")
        return Changes(["grace"])

    async def try_reload(self, why: str) -> bool:
        self.seen.append(why)
        return True

    async def watch(self) -> None:
        await trio.sleep_forever()

    watch_certificates = watch


class Told(Notifier):
    def __init__(self, seen: list[str]) -> None:
        super().__init__({})
        self.seen = seen

    def reloading(self) -> None:
        self.seen.append("reloading")

    def ready(self, status: str) -> None:
        self.seen.append(status)


def made() -> tuple[Upkeep, Any, list[str]]:
    seen: list[str] = []
    reloader: Any = FakeReloader(seen)
    return Upkeep(reloader, lambda: seen.append("logs"), Told(seen)), reloader, seen


async def test_what_happens_in_which_order() -> None:
    upkeep, _, seen = made()
    assert await upkeep.reload() == Changes(["grace"])
    await upkeep.try_reload("SIGHUP")
    assert seen == ["logs", "reloading", "reload", "serving", "logs", "reloading", "SIGHUP", "serving"]


async def test_a_failure_is_told_and_the_supervisor_sees_us_serve() -> None:
    upkeep, reloader, seen = made()
    reloader.fails = True
    with pytest.raises(ConfigError):
        await upkeep.reload()
    assert seen == ["logs", "reloading", "reload", "serving"]


async def test_the_certificates_age(autojump_clock: trio.testing.MockClock) -> None:
    upkeep, _, seen = made()
    with trio.move_on_after(2.5 * RENEWAL_CHECK):
        await upkeep.run()
    assert seen == ["the certificate's age"] * 2
