"""`ngrokd check`: each finding, good and bad, with what to do."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from ngrokd import check
from ngrokd.check import Finding, findings
from ngrokd.local import SOCKET
from ngrokd.settings import settings_from


def found(tmp_path: Path, **more: Any) -> dict[str, list[Finding]]:
    values = {
        "domain": "localhost", "http_addr": "127.0.0.1:0", "https_addr": "127.0.0.1:0", "tunnel_addr": "127.0.0.1:0",
        "state_dir": str(tmp_path / "state"), **more,
    }  # fmt: skip
    rows: dict[str, list[Finding]] = {}
    for finding in findings(settings_from(values)):
        rows.setdefault(finding.what, []).append(finding)
        assert finding.state == "ok" or finding.hint, finding
    return rows


def test_all_is_well(tmp_path: Path) -> None:
    rows = found(tmp_path)
    assert {finding.state for row in rows.values() for finding in row if finding.what != "descriptors"} == {"ok"}
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    assert "can be written" in found(tmp_path)["state"][0].text
    assert not list((tmp_path / "state").iterdir())


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (finding,) = found(tmp_path, http_addr=f"127.0.0.1:{port}")["http"]
        assert finding.state == "fail"
        assert "-httpAddr" in finding.hint


@contextmanager
def running(state: Path, answer: bytes) -> Iterator[None]:
    """A server with this state directory, which answers one question."""

    def serve() -> None:
        with control.accept()[0] as sock:
            assert json.loads(sock.makefile().readline())["do"] == "status"
            sock.sendall(answer)

    state.mkdir(exist_ok=True)
    (state / SOCKET).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(state / SOCKET))
        control.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


def test_a_port_that_the_running_server_has(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        place = f"127.0.0.1:{sock.getsockname()[1]}"
        with running(tmp_path / "state", json.dumps({"ok": {"listeners": {"http": [place]}}}).encode() + b"\n"):
            (finding,) = found(tmp_path, http_addr=place)["http"]
        assert finding == Finding("http", "ok", f"{place} is in use by the ngrokd that runs")


@pytest.mark.parametrize("answer", [b'{"ok": {"listeners": {"http": ["127.0.0.1:1"], "https": []}}}\n', b"x\n", b""])
def test_a_port_that_is_not_the_running_server_s(tmp_path: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, running(tmp_path / "state", answer):
        (finding,) = found(tmp_path, http_addr=f"127.0.0.1:{sock.getsockname()[1]}")["http"]
    assert finding.state == "fail"
    assert "another program" in finding.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert found(tmp_path)["state"][0].state == "fail"


@pytest.mark.parametrize(
    ("base", "wild", "state", "text"),
    [
        (set(), set(), "fail", "has no address"),
        ({"192.0.2.1"}, set(), "fail", "names below example.me"),
        ({"192.0.2.1"}, {"192.0.2.2"}, "warn", "*.example.me is 192.0.2.2"),
        ({"192.0.2.1"}, {"192.0.2.1"}, "ok", "example.me and *.example.me are 192.0.2.1"),
    ],
)
def test_dns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: set[str], wild: set[str], state: str, text: str
) -> None:
    monkeypatch.setattr(check, "_addresses", lambda name: base if name == "example.me" else wild)
    (finding,) = found(tmp_path, domain="example.me")["dns"]
    assert finding.state == state
    assert text in finding.text


def pair(tmp_path: Path, **more: Any) -> dict[str, str]:
    leaf = trustme.CA().issue_cert("localhost", "*.localhost", **more)
    crt, key = tmp_path / "a.crt", tmp_path / "a.key"
    leaf.cert_chain_pems[0].write_to_path(str(crt))
    leaf.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return {"tls_crt": str(crt), "tls_key": str(key)}


def test_certificates(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    given = pair(tmp_path)
    assert [finding.state for finding in found(tmp_path, **given)["certificate"]] == ["ok"]
    Path(given["tls_key"]).chmod(0o644)
    assert "others may read" in found(tmp_path, **given)["certificate"][-1].text
    rows = found(tmp_path, **pair(tmp_path), domain="other.localhost")["certificate"]
    assert "does not cover" in rows[-1].text
    soon = pair(tmp_path, not_after=now + timedelta(days=3))
    assert found(tmp_path, **soon)["certificate"][0].state == "warn"
    over = pair(tmp_path, not_after=now - timedelta(days=3))
    assert found(tmp_path, **over)["certificate"][0].state == "fail"
    Path(over["tls_key"]).write_text("nonsense")
    assert found(tmp_path, **over)["certificate"][0].state == "fail"


def test_logs(tmp_path: Path) -> None:
    """It makes none: a file of root's would lock the server out."""
    good = {"log": str(tmp_path / "a.log"), "access_log": str(tmp_path / "b.log"), "audit_log": "stdout"}
    assert [finding.state for finding in found(tmp_path, **good)["logs"]] == ["ok", "ok"]
    assert not list(tmp_path.glob("*.log"))
    (bad,) = found(tmp_path, audit_log=str(tmp_path / "none" / "a.log"))["logs"]
    assert (bad.state, bad.hint) == ("fail", "name another with -auditLog, or make its directory")
    assert found(tmp_path, access_log=str(tmp_path))["logs"][0].state == "fail"
    assert "logs" not in found(tmp_path)


def test_error_pages(tmp_path: Path) -> None:
    assert found(tmp_path, error_pages=str(tmp_path))["error pages"][0].state == "ok"
    (tmp_path / "page.html").write_text("$nonsense")
    assert found(tmp_path, error_pages=str(tmp_path))["error pages"][0].state == "fail"


def test_a_clock_that_is_behind_our_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "names.json").touch()
    os.utime(state / "names.json", (time.time() + 9000,) * 2)
    assert found(tmp_path)["clock"][0].state == "warn"
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert found(tmp_path)["clock"][0].state == "fail"


def test_an_open_server_is_worth_a_note(tmp_path: Path) -> None:
    assert found(tmp_path, open="true")["access"][0].state == "warn"
