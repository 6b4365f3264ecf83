"""The name that a client asks for reaches the port, and may choose the certificate."""

from __future__ import annotations

import ssl

import pytest
import trio
import trustme

from protocol.link.sni import notice_names
from protocol.link.tls import TlsPort
from tests.kit.ports import tcp_sockets


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return notice_names(context)


async def meet(name: str | None, *, early: int = 0) -> tuple[str | None, str]:
    """(what the server saw, the name in the certificate that the client got). `early`: bytes read before the port is."""
    authority = trustme.CA()
    usual, other = server_context(authority, "usual.test"), server_context(authority, "other.test")
    client = ssl.create_default_context()
    client.check_hostname = False
    authority.configure_trust(client)
    near, far = tcp_sockets()
    mine = TlsPort(near, client, server_name=name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine.handshake)
        rest = b""
        if early:
            await trio.lowlevel.wait_readable(far)
            rest = far.recv(early)
        theirs = TlsPort(far, usual, server_side=True, choose={"other.test": other}.get)
        theirs.feed(rest)
        nursery.start_soon(theirs.handshake)
    found = mine.tls.getpeercert()
    assert found is not None
    for port in (mine, theirs):
        port.abort()
    names = found["subjectAltName"]
    assert isinstance(names, tuple)
    return theirs.sni, str(names[0][1])


@pytest.mark.parametrize(
    ("name", "seen", "certificate"),
    [
        ("other.test", "other.test", "other.test"),
        ("OTHER.test", "other.test", "other.test"),
        ("usual.test", "usual.test", "usual.test"),
        ("unknown.test", "unknown.test", "usual.test"),
        (None, None, "usual.test"),
    ],
)
async def test_names_choose(name: str | None, seen: str | None, certificate: str) -> None:
    assert await meet(name) == (seen, certificate)


async def test_bytes_that_were_read_before_are_part_of_the_handshake() -> None:
    assert await meet("other.test", early=50) == ("other.test", "other.test")
