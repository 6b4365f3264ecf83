"""Listening sockets: every address of a name on one port, and errors that name the flag."""

from __future__ import annotations

import errno
import socket

import pytest

from ngrokd.listening import cannot_listen, open_listeners
from protocol.address import HostPort
from protocol.errors import Fault


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


async def test_no_host_is_every_address() -> None:
    (sock,) = await open_listeners(HostPort("", 0), "httpAddr")
    with sock:
        port = sock.getsockname()[1]
        assert port
        assert connects("127.0.0.1", port)
        assert not socket.has_dualstack_ipv6() or connects("::1", port)


async def test_a_name_with_two_addresses_has_one_port() -> None:
    sockets = await open_listeners(HostPort("localhost", 0), "httpAddr")
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert connects("127.0.0.1", sockets[0].getsockname()[1])
    finally:
        for sock in sockets:
            sock.close()


async def test_a_port_in_use_is_one_sentence_with_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Fault, match="in use") as caught:
        await open_listeners(HostPort("127.0.0.1", taken.getsockname()[1]), "httpAddr")
    assert "-httpAddr" in caught.value.hint


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(Fault) as caught:
        await open_listeners(HostPort("192.0.2.1", 0), "tunnelAddr")
    assert "-tunnelAddr" in caught.value.hint


def test_a_privileged_port_says_what_to_do() -> None:
    fault = cannot_listen(OSError(errno.EACCES, "Permission denied"), HostPort("", 80), "httpAddr")
    assert fault.message == "no permission to listen on port 80"
    assert "-httpAddr" in fault.hint
    fault = cannot_listen(socket.gaierror(-2, "unknown"), HostPort("nowhere", 80), "httpAddr")
    assert "nowhere" in fault.message
