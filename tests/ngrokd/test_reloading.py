"""Reload: everything or nothing, at once, without a handshake that fails; and what waits for the next start."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trustme
from structlog.testing import capture_logs

from ngrokd.local import SOCKET, ask
from ngrokd.reloading import Changes, signature
from ngrokd.server import Server
from ngrokd.settings import Settings, settings_from
from protocol.errors import ConfigError, Fault


def put_pair(ca: trustme.CA, crt: Path, key: Path, name: str = "localhost") -> bytes:
    """A fresh pair in these files, each replaced as tools for certificates do it; its serial."""
    leaf = ca.issue_cert(name)
    for path, blob in ((crt, leaf.cert_chain_pems[0]), (key, leaf.private_key_pem)):
        beside = path.with_suffix(".new")
        beside.write_bytes(blob.bytes())
        os.replace(beside, path)
    return leaf.cert_chain_pems[0].bytes()


class Site:
    """A server with an operator's pair, and its settings that a test changes."""

    def __init__(self, path: Path) -> None:
        self.ca = trustme.CA()
        self.crt, self.key = path / "a.crt", path / "a.key"
        self.pages = path / "pages"
        self.pages.mkdir()
        put_pair(self.ca, self.crt, self.key)
        self.values: dict[str, Any] = {
            "domain": "localhost", "http_addr": "127.0.0.1:0", "https_addr": "127.0.0.1:0", "grace": "0.05",
            "tunnel_addr": "127.0.0.1:0", "state_dir": str(path / "state"), "tls_crt": str(self.crt),
            "tls_key": str(self.key), "error_pages": str(self.pages),
        }  # fmt: skip
        self.server = Server(self.settings(), structlog.get_logger(), reread=self.settings)

    def settings(self) -> Settings:
        return settings_from(self.values)

    async def shake_hands(self) -> bytes:
        """The certificate that a visitor sees."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        stream = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", self.server.addresses["https"][0].port),
            context, server_hostname="localhost", https_compatible=True,
        )  # fmt: skip
        try:
            await stream.do_handshake()
            found = stream.getpeercert(binary_form=True)
            assert isinstance(found, bytes)
            return found
        finally:
            await trio.aclose_forcefully(stream)


async def with_site(tmp_path: Path, test: Callable[[Site], Any]) -> None:
    site = Site(tmp_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(site.server.serve)
        with trio.fail_after(30):
            await test(site)
            site.server.stop()
            await site.server.stopped.wait()


async def test_what_changes_at_once_and_what_waits(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        assert await site.server.reload() == Changes()
        site.values |= {"grace": "0.1", "tcp_ports": "2000-2010", "domain": "other.example"}
        assert await site.server.reload() == Changes(["grace", "tcpPorts"], ["domain"])
        assert site.server.settings.grace == 0.1
        assert site.server.settings.domain == "localhost"
        before = await site.shake_hands()
        put_pair(site.ca, site.crt, site.key)
        (site.pages / "page.html").write_text("<p>$title</p>")
        assert await site.server.reload() == Changes(["certificate", "error pages"], ["domain"])
        assert await site.shake_hands() != before

    await with_site(tmp_path, test)


async def test_a_port_is_reserved_within_the_range_of_now(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        commands = tmp_path / "state" / SOCKET
        await ask(commands, "token_add", {"name": "alice"})
        await ask(commands, "reserve", {"name": "2222", "for": "alice"})
        site.values["tcp_ports"] = "2000-2010"
        await site.server.reload()
        with pytest.raises(Fault, match=r"-tcpPorts, 2000-2010"):
            await ask(commands, "reserve", {"name": "2223", "for": "alice"})
        await ask(commands, "reserve", {"name": "2010", "for": "alice"})

    await with_site(tmp_path, test)


@pytest.mark.parametrize("broken", ["grace", "certificate", "pages"])
async def test_what_is_broken_changes_nothing(tmp_path: Path, broken: str) -> None:
    async def test(site: Site) -> None:
        before = await site.shake_hands()
        site.values["tcp_ports"] = "2000-2010"
        if broken == "grace":
            site.values["grace"] = "never"
        elif broken == "certificate":
            site.key.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
        else:
            (site.pages / "page.html").write_text("$nonsense")
        with pytest.raises(ConfigError):
            await site.server.reload()
        assert site.server.settings.tcp_ports.last == 65535
        assert await site.shake_hands() == before
        with capture_logs() as lines:
            await site.server.try_reload("a test")
        assert [line["log_level"] for line in lines] == ["error"]

    await with_site(tmp_path, test)


async def test_fifty_swaps_under_handshakes(tmp_path: Path) -> None:
    """C19: none fails, a new pair is seen within a second, a broken one is not used."""

    async def test(site: Site) -> None:
        done, over = 0, False

        async def visitor() -> None:
            nonlocal done
            while not over:
                await site.shake_hands()
                done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(visitor)
            for number in range(50):
                if number % 5 == 4:
                    shutil.copy(site.crt, site.key)  # no key at all
                    with pytest.raises(ConfigError):
                        await site.server.reload()
                put_pair(site.ca, site.crt, site.key)
                await site.server.reload()
            put_pair(site.ca, site.crt, site.key)
            wanted = ssl.PEM_cert_to_DER_cert(site.crt.read_text())
            with trio.fail_after(3):
                while await site.shake_hands() != wanted:  # nobody asked for this one: the files are watched
                    await trio.sleep(0.05)
            over = True
        assert done > 50

    await with_site(tmp_path, test)


def get(site: Site, **fields: str) -> Any:
    """Ask the http listener for something with a body of ten bytes."""
    port = site.server.addresses["http"][0].port
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())

    async def ask() -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(
                f"POST / HTTP/1.1\r\nHost: nobody.localhost\r\nContent-Length: 10\r\n{head}\r\n".encode()
            )
            return await stream.receive_some()

    return ask()


def logs_of(site: Site) -> list[object]:
    return [site.server.office.access, site.server.office.audit.file]


async def test_limits_trust_and_logs_change_under_way(tmp_path: Path) -> None:
    access, audit = tmp_path / "access.log", tmp_path / "audit.log"

    async def test(site: Site) -> None:
        assert b" 404 " in await get(site)
        site.values |= {
            "max_body": "9", "trusted_proxies": "127.0.0.1", "access_log": str(access), "audit_log": str(audit),
            "max_visitors": "100", "max_visitors_per_address": "50", "visitor_rate": "1000", "log_level": "DEBUG",
            "open": "true", "tcp_proxies": "192.0.2.1",
        }  # fmt: skip
        changes = await site.server.reload()
        assert changes.restart == []
        assert changes.applied == [
            "accessLog", "auditLog", "log-level", "maxBody", "maxVisitors", "maxVisitorsPerAddress", "open",
            "tcpProxies", "trustedProxies", "visitorRate",
        ]  # fmt: skip
        assert b" 413 " in await get(site, **{"X-Forwarded-For": "192.0.2.99"})
        assert None not in logs_of(site)
        for name in ("max_body", "trusted_proxies", "access_log", "audit_log", "visitor_rate"):
            del site.values[name]
        site.values["max_visitors_per_address"] = "1"
        assert len((await site.server.reload()).applied) == 6
        async with await trio.open_tcp_stream("127.0.0.1", site.server.addresses["http"][0].port):
            assert b" 429 " in await get(site)
        assert logs_of(site) == [None, None]

    await with_site(tmp_path, test)
    (line,) = (json.loads(line) for line in access.read_text().splitlines())
    assert (line["visitor"], line["error"]) == ("192.0.2.99", "body_too_large")


@pytest.mark.parametrize("flag", ["access_log", "audit_log"])
async def test_a_log_that_can_not_be_opened_changes_nothing(tmp_path: Path, flag: str) -> None:
    async def test(site: Site) -> None:
        site.values |= {flag: str(tmp_path / "none" / "x.log"), "grace": "5"}
        with pytest.raises(ConfigError, match=r"-\w+Log: .*No such file"):
            await site.server.reload()
        assert site.server.settings.grace == 0.05

    await with_site(tmp_path, test)


async def test_another_directory_of_certificates(tmp_path: Path) -> None:
    async def test(site: Site) -> None:
        before = await site.shake_hands()
        for number in "12":
            directory = tmp_path / number
            directory.mkdir()
            put_pair(site.ca, directory / "a.crt", directory / "a.key")
            site.values["cert_dir"] = str(directory)
            assert (await site.server.reload()).applied == ["certDir"]
            after = await site.shake_hands()
            assert after == ssl.PEM_cert_to_DER_cert((directory / "a.crt").read_text())
        put_pair(site.ca, directory / "a.crt", directory / "a.key")
        wanted = ssl.PEM_cert_to_DER_cert((directory / "a.crt").read_text())
        while await site.shake_hands() != wanted:
            await trio.sleep(0.05)
        site.values["cert_dir"] = str(tmp_path / "none")
        with pytest.raises(ConfigError, match="-certDir"):
            await site.server.reload()
        del site.values["cert_dir"]
        assert (await site.server.reload()).applied == ["certDir"]
        assert await site.shake_hands() == before

    await with_site(tmp_path, test)


def test_a_signature_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    seen = [signature([path])]
    path.write_text("1")
    seen.append(signature([path]))
    path.write_text("22")
    seen.append(signature([path]))
    other = tmp_path / "b"
    other.write_text("33")
    os.replace(other, path)
    seen.append(signature([path]))
    assert len(set(seen)) == 4
