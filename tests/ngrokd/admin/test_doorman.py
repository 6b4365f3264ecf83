"""The gate before the gate: bans of three kinds, and every refusal counted and written down."""

from __future__ import annotations

import pytest
import structlog

from ngrokd.admin.audit import Audit
from ngrokd.admin.bans import Ban, Bans, Kind
from ngrokd.admin.doorman import Doorman
from ngrokd.admin.meters import Meters
from ngrokd.gate import Admission, Arrival
from protocol.errors import Blame, RefusedError
from protocol.messages import Auth

ARRIVAL = Arrival("192.0.2.7", "192.0.2.1")


class Open:
    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:
        return Admission("t1")


class Shut:
    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:
        raise RefusedError("bad_token", "no", blame=Blame.AGENT, retry=False)


def doorman(inner: Open | Shut) -> Doorman:
    return Doorman(inner, Bans(), Meters(lambda: 0.0), Audit(structlog.get_logger(), lambda: 0.0), lambda: 5.0)


async def test_who_is_let_in_is_counted() -> None:
    door = doorman(Open())
    assert (await door.admit(Auth(client_id="c1"), ARRIVAL)).account == "t1"
    assert door.meters.logins == 1


@pytest.mark.parametrize(("kind", "value"), [("token", "t1"), ("address", "192.0.2.7"), ("client", "c1")])
async def test_a_ban_keeps_out_and_says_for_how_long(kind: Kind, value: str) -> None:
    door = doorman(Open())
    door.bans.add(Ban(kind, value, 65.0))
    with pytest.raises(RefusedError, match="another 60 s") as caught:
        await door.admit(Auth(client_id="c1"), ARRIVAL)
    assert caught.value.retry
    assert door.meters.refused_logins == {"banned": 1}
    assert door.meters.logins == 0


async def test_refusals_of_the_other_gate_pass_through() -> None:
    door = doorman(Shut())
    with pytest.raises(RefusedError, match="no"):
        await door.admit(Auth(), ARRIVAL)
    assert door.meters.refused_logins == {"bad_token": 1}
