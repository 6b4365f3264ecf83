"""Sockets from systemd: taken by name, only when they are meant for this process, and the server listens on them."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from ngrokd.activation import activated
from protocol.link.listener import bind


def environment(count: int, names: str, pid: int | None = None) -> dict[str, str]:
    return {
        "LISTEN_PID": str(os.getpid() if pid is None else pid),
        "LISTEN_FDS": str(count),
        "LISTEN_FDNAMES": names,
    }


def consecutive(count: int) -> tuple[int, list[socket.socket]]:
    """Listening sockets on descriptors that follow each other, as systemd gives them; the first descriptor."""
    first = 200
    sockets = []
    for number in range(count):
        with bind("127.0.0.1", 0) as sock:
            os.dup2(sock.fileno(), first + number)
        sockets.append(socket.socket(fileno=os.dup(first + number)))
    return first, sockets


def test_sockets_are_found_by_name() -> None:
    first, copies = consecutive(3)
    found = activated(environment(3, "http:other:tunnel"), first=first)
    assert set(found) == {"http", "tunnel"}
    assert found["http"][0].getsockname() == copies[0].getsockname()
    assert not found["tunnel"][0].getblocking()
    assert not os.get_inheritable(found["tunnel"][0].fileno())
    for sock in (*copies, found["http"][0], found["tunnel"][0]):
        sock.close()
    os.close(first + 1)


@pytest.mark.parametrize(
    "environ",
    [{}, environment(1, "http", pid=1), environment(0, ""), {**environment(1, "http"), "LISTEN_FDS": "one"}],
)
def test_what_is_not_for_us_is_left_alone(environ: dict[str, str]) -> None:
    assert activated(environ, first=200) == {}


def test_a_descriptor_that_is_no_stream_socket_is_left_alone() -> None:
    reading, writing = os.pipe()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    os.dup2(reading, 210)
    os.dup2(datagram.fileno(), 211)
    assert activated(environment(3, "http:https:tunnel"), first=210) == {}
    assert os.fstat(211)
    for fd in (reading, writing, 210, 211):
        os.close(fd)
    datagram.close()


async def test_visitors_reach_a_socket_that_was_handed_over() -> None:
    first, copies = consecutive(1)
    found = activated(environment(1, "http"), first=first)
    client = await trio.open_tcp_stream(*found["http"][0].getsockname()[:2])
    accepted, _ = found["http"][0].accept()
    accepted.close()
    await client.aclose()
    for sock in (*copies, *found["http"]):
        sock.close()
