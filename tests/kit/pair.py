"""The real programs with one http tunnel to a scripted service, and the verdict on an exchange through them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.exchanges import Case, Service, differences, open_service, play
from tests.kit.programs import open_world


@dataclass(frozen=True)
class Pair:
    """The running programs with a tunnel to `service`."""

    service: Service
    port: int
    host: bytes

    async def verdict(self, case: Case) -> list[str]:
        """How the tunnel differs from no tunnel."""
        direct = await play(case, self.service, self.service.port, self.host)
        assert direct.stuck is None, f"the case itself is wrong: {case.name}: {direct.stuck}"
        return differences(case, direct, await play(case, self.service, self.port, self.host))


@asynccontextmanager
async def open_pair(path: Path, settings: dict[str, object]) -> AsyncIterator[Pair]:
    """`settings` are those of ngrokc: `{}` for the native dialect, `{"mux": False}` for a link for each visitor."""
    async with open_service() as service, open_world(path) as world:
        server = await world.ngrokd(https=False)
        await world.ngrokc({"same": {"proto": {"http": service.port}}}, server, settings=settings)
        yield Pair(service, server.http_port, b"same.localhost")
