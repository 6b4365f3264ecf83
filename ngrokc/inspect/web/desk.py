"""What the handlers of the page share: one value, made by the inspector, put into the application's state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio
from starlette.requests import HTTPConnection

from ngrokc.inspect.access import Token
from ngrokc.inspect.journal import Journal
from ngrokc.inspect.replay import Replayer
from ngrokc.inspect.seams import AgentLike
from ngrokc.inspect.settings import InspectSettings
from ngrokc.inspect.store import Store
from protocol.address import Upstream


@dataclass(frozen=True, slots=True)
class Desk:
    """`hosts`: the allowed spellings of Host. `refuses`: whether an upstream is the inspector itself."""

    agent: AgentLike
    store: Store
    journal: Journal
    token: Token
    settings: InspectSettings
    replayer: Replayer
    nursery: trio.Nursery
    hosts: frozenset[str]
    refuses: Callable[[Upstream | None], bool]


def desk_of(connection: HTTPConnection) -> Desk:
    desk = connection.app.state.desk
    assert isinstance(desk, Desk)
    return desk
