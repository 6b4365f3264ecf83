"""The office: loopback only, an access log where one is asked for, a gate that counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
import trio

from ngrokd.admin.office import Office, check_address
from ngrokd.gate import AddressGate, Arrival
from protocol.address import HostPort
from protocol.errors import ConfigError, RefusedError
from protocol.link.tasks import TaskReactor
from protocol.messages import Auth
from tests.kit.adminworld import open_admin


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback(host: str) -> None:
    check_address(HostPort(host, 4041))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.0.2.7", "example.me"])
def test_nothing_else(host: str) -> None:
    with pytest.raises(ConfigError, match="loopback only"):
        check_address(HostPort(host, 4041))


async def test_the_gate_counts() -> None:
    office = Office(TaskReactor(), structlog.get_logger())
    gate = office.doorman(AddressGate())
    with pytest.raises(RefusedError):
        await gate.admit(Auth(), Arrival("192.0.2.7", "192.0.2.1"))
    await gate.admit(Auth(), Arrival("127.0.0.1", "127.0.0.1"))
    assert (office.meters.logins, office.meters.refused_logins.total()) == (1, 1)


async def test_exchanges_get_into_the_access_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with open_admin(tmp_path, access_log=str(path)) as world:
        port = world.server.addresses["http"][0].port
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /x?secret HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
            await stream.receive_some()
    (row,) = (json.loads(line) for line in path.read_text().splitlines())
    assert (row["error"], row["path"], row["host"]) == ("tunnel_not_found", "/x", "nobody.localhost")
