"""`ngrokc check`: each step with its time; what fails says what to do and ends the steps that need it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trustme

from ngrokc.check import Finding, findings, line
from ngrokc.flags import understand
from ngrokc.plan import Plan, make_plan
from protocol.messages import AuthResp
from tests.kit.native_server import NativeServer


def plan(path: Path, server: int, service: int) -> Plan:
    path.write_text(
        f"server_addr: 127.0.0.1:{server}\ntunnels:\n  web: {{proto: {{http: {service}, https: {service}}}}}\n"
    )
    return make_plan(understand([f"-config={path}", "start-all"]), {})


async def steps(made: Plan) -> dict[str, Finding]:
    with trio.fail_after(20):
        return {finding.step: finding async for finding in findings(made)}


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
async def server() -> AsyncIterator[NativeServer]:
    made = NativeServer(server_context())
    async with trio.open_nursery() as nursery:
        await nursery.start(made.serve)
        yield made
        nursery.cancel_scope.cancel()


async def test_all_is_well(server: NativeServer, tmp_path: Path) -> None:
    found = await steps(plan(tmp_path / "a.yml", server.port, server.port))
    assert [*found] == ["config", "dns", "reach", "login", "service web"]
    assert found["login"].state == "warn"  # on this machine a certificate is not verified, and that is said
    assert "not verified" in found["login"].hint
    assert "native" in found["login"].text
    assert {finding.state for step, finding in found.items() if step != "login"} == {"ok"}
    assert all(finding.seconds is not None for step, finding in found.items() if step != "config")


async def test_a_refusal_has_its_reason_and_a_remedy(server: NativeServer, tmp_path: Path) -> None:
    server.refuse_login = AuthResp(error="this server needs a token", code="token_needed", retry=False)
    found = await steps(plan(tmp_path / "a.yml", server.port, server.port))
    assert found["login"].state == "fail"
    assert "this server needs a token" in found["login"].text
    assert "NGROK_AUTHTOKEN" in found["login"].hint


async def test_nobody_listens(server: NativeServer, tmp_path: Path) -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        closed = sock.getsockname()[1]
        found = await steps(plan(tmp_path / "a.yml", closed, closed))
    assert [*found] == ["config", "dns", "reach", "service web"]
    assert found["reach"].state == found["service web"].state == "fail"
    assert found["reach"].hint == "is ngrokd running there, and on that port?"
    assert found["service web"].text == f"127.0.0.1:{closed}: nothing listens there"
    assert found["service web"].hint == "start the service, or correct the port"


async def test_a_port_that_speaks_something_else(tmp_path: Path) -> None:
    async def shout(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_tcp(shout, 0, host="127.0.0.1", task_status=task_status)
        )
        port = listeners[0].socket.getsockname()[1]
        found = await steps(plan(tmp_path / "a.yml", port, port))
        nursery.cancel_scope.cancel()
    assert found["login"].state == "fail"
    assert "tunnel port" in found["login"].hint


async def test_a_tls_port_that_speaks_something_else(tmp_path: Path) -> None:
    async def shout(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with contextlib.suppress(trio.BrokenResourceError):  # the agent has seen enough
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: trio.serve_ssl_over_tcp(
                shout, 0, server_context(), host="127.0.0.1", task_status=task_status
            )
        )
        port = listeners[0].transport_listener.socket.getsockname()[1]
        found = await steps(plan(tmp_path / "a.yml", port, port))
        nursery.cancel_scope.cancel()
    assert "does not speak ngrok's protocol" in found["login"].text
    assert found["login"].hint == "is that the tunnel port of an ngrokd, and not its https port?"


def test_lines() -> None:
    assert line(Finding("dns", "ok", "fine", 0.0123)) == "ok    dns               12 ms  fine"
    assert line(Finding("reach", "fail", "gone", 1.0, "go")).splitlines()[1].strip() == "-> go"
