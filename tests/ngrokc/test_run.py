"""The program around the agent: status lines, log, the kept token, exit codes and signals."""

from __future__ import annotations

import os
import signal
import ssl
from pathlib import Path

import pytest
import structlog
import trio
import trustme
from structlog.testing import LogCapture

from ngrokc.flags import understand
from ngrokc.plan import make_plan
from ngrokc.run import EXIT_REFUSED, EXIT_STOPPED, run_agent
from ngrokc.shown import Looks
from protocol.link.logs import Log
from protocol.messages import AuthResp, ReqTunnel
from tests.kit.go_wire import server_context
from tests.kit.native_server import NativeServer


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def log() -> Log:
    found: Log = structlog.wrap_logger(
        None, processors=[LogCapture()], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    return found


async def start(server: NativeServer, home: Path, line: str, *, signalled: bool) -> tuple[int, list[str]]:
    codes: list[int] = []
    lines: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        plan = make_plan(understand([f"-server=127.0.0.1:{server.port}", *line.split()]), {"HOME": str(home)})

        async def run() -> None:
            codes.append(await run_agent(plan, log(), Looks(lines.append, lines.append)))
            nursery.cancel_scope.cancel()

        nursery.start_soon(run)
        if signalled:
            await server.seen(ReqTunnel)
            with trio.fail_after(10):
                while not any(" -> " in line for line in lines):
                    await trio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)  # twice, as `timeout` and impatient people do
    return codes[0], lines


async def test_stopped_by_a_signal(tmp_path: Path) -> None:
    code, lines = await start(NativeServer(server_context()), tmp_path, "-proto=http -subdomain=a 8080", signalled=True)
    assert code == EXIT_STOPPED
    assert lines[0] == "connecting"
    assert "http://a.ngrok.me -> 127.0.0.1:8080" in lines
    assert lines[-1] == "closed"
    assert list((tmp_path / "state" / "ngrokc").glob("*.json"))


async def test_refused_for_good(tmp_path: Path) -> None:
    server = NativeServer(server_context())
    server.refuse_login = AuthResp(error="this token is not known here", code="bad_token", retry=False)
    code, lines = await start(server, tmp_path, "80", signalled=False)
    assert code == EXIT_REFUSED
    assert lines[-1] == "closed: this token is not known here"


async def test_an_accepted_token_is_kept(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / ".ngrok").write_text(f"# mine\nca: {tmp_path}/ca.pem\n")
    await start(NativeServer(context), tmp_path, "-authtoken=tok12345 -proto=http 80", signalled=True)
    assert "auth_token: tok12345" in (tmp_path / ".ngrok").read_text()
    assert "# mine" in (tmp_path / ".ngrok").read_text()
