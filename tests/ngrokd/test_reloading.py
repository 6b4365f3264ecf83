"""Reload: everything or nothing, at once, without a handshake that fails; and what waits for the next start."""

from __future__ import annotations

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

from ngrokd.reloading import signature
from ngrokd.server import Server
from ngrokd.settings import Settings, settings_from
from protocol.errors import ConfigError


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
        assert await site.server.reload() == []
        site.values |= {"grace": "0.1", "tcp_ports": "2000-2010", "domain": "other.example"}
        assert await site.server.reload() == ["grace", "tcpPorts", "domain (at the next start)"]
        assert site.server.settings.grace == 0.1
        assert site.server.settings.domain == "localhost"
        before = await site.shake_hands()
        put_pair(site.ca, site.crt, site.key)
        (site.pages / "page.html").write_text("<p>$title</p>")
        assert await site.server.reload() == ["domain (at the next start)", "certificate", "error pages"]
        assert await site.shake_hands() != before

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
