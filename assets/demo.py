"""`make demo`: ngrokd, an agent and a small private web service on this machine, each a process of its own.

Prints a public URL that opens in a browser here (a `*.localhost` name needs no hosts file), shows one request going
through, and stays up until Ctrl-C. Everything it writes is in a temporary directory that goes with it. It starts the two
programs as a person would and knows nothing of their insides.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trio

HTTP_PORT, INSPECT_PORT = 8080, 4040  # taken when they are free, so that the URLs are the same each time
READY_WITHIN = 20.0
STOP_WITHIN = 10.0
URL = re.compile(r"http://demo\.localhost(?::\d+)?")

PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>It works</title>
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}}
pre{{overflow:auto;padding:1rem;border:1px solid #8886;border-radius:.5rem}}</style>
<h1>Hello from a private service</h1>
<p>This page came through ngrokd and ngrokc. Nobody can reach port {port} from outside; the tunnel did. What arrived here:</p>
<pre>{head}</pre>
"""


class DemoFailed(Exception):
    """What went wrong, for a person to read."""


class PrivateService(BaseHTTPRequestHandler):
    """The service behind the tunnel: it shows the request that reached it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        head = f"{self.requestline}\n" + "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        if "text/html" in self.headers.get("Accept", ""):
            self._answer(
                PAGE.format(port=self.connection.getsockname()[1], head=escape(head)), "text/html; charset=utf-8"
            )
        else:
            self._answer(f"Hello from a private service. What arrived here:\n{head}\n", "text/plain; charset=utf-8")

    def _answer(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        say(f"service   {format % args}")


def say(text: str) -> None:
    """One line to whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve_privately() -> None:
    """The process of the private service: prints its port, serves until it is told to stop."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), PrivateService)
    say(f"port {server.server_address[1]}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


class Child:
    """A process whose lines can be waited for."""

    def __init__(self, name: str, process: trio.Process) -> None:
        self.name = name
        self.process = process
        self.lines: list[str] = []
        self._rest = b""

    async def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The first match in its next lines. Raises DemoFailed, with what it said, when it ends or keeps silent."""
        with trio.move_on_after(READY_WITHIN):
            while (line := await self._line()) is not None:
                if found := pattern.search(line):
                    return found
        said = "\n".join(f"  {line}" for line in self.lines[-20:])
        raise DemoFailed(f"{self.name} did not come up; it said:\n{said}")

    async def follow(self, *, show: bool) -> None:
        """Keep its pipe empty; its lines are shown or forgotten."""
        while (line := await self._line()) is not None:
            if show:
                say(line)
            self.lines.clear()

    async def _line(self) -> str | None:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            data = await self.process.stdout.receive_some()
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line.decode("utf-8", "replace"))
        return self.lines[-1]

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL for who does not listen."""
        if self.process.returncode is None:
            self.process.terminate()
        with trio.move_on_after(STOP_WITHIN, shield=True):
            await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()


def program(name: str) -> list[str]:
    """The console script beside this interpreter."""
    return [str(Path(sys.executable).with_name(name))]


async def start(name: str, words: Sequence[str], home: Path) -> Child:
    """A child in a session of its own, so that Ctrl-C reaches only the demo, which then ends them in order."""
    directory = home / name
    directory.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "XDG_STATE_HOME": str(directory / "state"),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
    }
    process = await trio.lowlevel.open_process(
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=str(directory),
        env=environment,
        start_new_session=True,
    )
    return Child(name, process)


def free_port(wanted: int) -> int:
    """`wanted` when it is free, else any free port of 127.0.0.1."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise DemoFailed("no free port on 127.0.0.1")


async def show_request(url: str) -> None:
    """One request, by hand, to show what goes over the wire."""
    host, _, port = url.removeprefix("http://").partition(":")
    stream = await trio.open_tcp_stream("127.0.0.1", int(port or 80))
    async with stream:
        say(f"\nA request through the tunnel:\n  > GET / HTTP/1.1\n  > Host: {host}:{port}")
        await stream.send_all(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join([data async for data in stream]).decode("utf-8", "replace")
    say("\n".join(f"  < {line.rstrip()}" for line in answer.rstrip().splitlines()))
    if not answer.startswith("HTTP/1.1 200"):
        raise DemoFailed("the answer should have been 200")


async def inspector_page(home: Path, port: int) -> str:
    """The inspector's URL with its token, which the agent leaves in a file for its own user; "" when there is none."""
    file = home / "ngrokc" / "state" / "ngrokc" / f"inspect-{port}.token"
    for _ in range(50):
        if file.exists() and (token := file.read_text().strip()):
            return f"http://127.0.0.1:{port}/?token={token}"
        await trio.sleep(0.1)
    return ""


async def demonstrate(home: Path, children: list[Child], *, once: bool) -> None:
    """Start everything, show it, and stay."""
    http_port, tunnel_port, inspect_port = free_port(HTTP_PORT), free_port(0), free_port(INSPECT_PORT)
    service = await start("service", [sys.executable, "-m", "assets.demo", "--service"], home)
    children.append(service)
    upstream = (await service.wait_for(re.compile(r"port (\d+)")))[1]
    say(f"service   a private web service on 127.0.0.1:{upstream}")

    flags = [f"-httpAddr=127.0.0.1:{http_port}", "-httpsAddr=", f"-tunnelAddr=127.0.0.1:{tunnel_port}"]
    flags.append(f"-stateDir={home / 'state'}")  # root's is /var/lib/ngrokd otherwise, which a real server may be using
    server = await start("ngrokd", [*program("ngrokd"), "-domain=localhost", *flags, "-logFormat=json"], home)
    children.append(server)
    await server.wait_for(re.compile("ngrokd is up"))
    say(f"ngrokd    visitors at 127.0.0.1:{http_port}, agents at 127.0.0.1:{tunnel_port}")

    config = home / "ngrokc.yml"
    wanted = {
        "server_addr": f"127.0.0.1:{tunnel_port}",
        "inspect_addr": f"127.0.0.1:{inspect_port}",
        "tunnels": {"demo": {"proto": {"http": upstream}}},
    }
    config.write_text(json.dumps(wanted))  # JSON is YAML
    agent = await start("ngrokc", [*program("ngrokc"), f"-config={config}", "-log=stdout", "start-all"], home)
    children.append(agent)
    url = (await agent.wait_for(URL))[0]
    say(f"ngrokc    {url} -> 127.0.0.1:{upstream}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow_service, service)
        nursery.start_soon(_follow_quietly, server)
        nursery.start_soon(_follow_quietly, agent)
        await show_request(url)
        say(f"\nOpen {url} in a browser on this machine, or: curl {url}")
        if page := await inspector_page(home, inspect_port):
            say(f"See every request at {page}")
        say("Ctrl-C ends the demo.\n")
        if once:
            nursery.cancel_scope.cancel()


async def _follow_service(child: Child) -> None:
    await child.follow(show=True)


async def _follow_quietly(child: Child) -> None:
    await child.follow(show=False)
    say(f"{child.name} ended: exit code {await child.process.wait()}")


async def main(*, once: bool) -> None:
    """Run until a signal (or, with `once`, until the request was shown); the agent goes first, the service last."""
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="ngrok-demo-") as home:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            try:
                await demonstrate(Path(home), children, once=once)
            finally:
                with trio.CancelScope(shield=True):
                    for child in reversed(children):
                        await child.stop()
            nursery.cancel_scope.cancel()
    say("demo: everything has ended")


def innermost(error: BaseException) -> BaseException:
    """The first plain exception within nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make demo", description="A tunnel on this machine, to look at.")
    parser.add_argument("--service", action="store_true", help="be the private web service")
    parser.add_argument("--once", action="store_true", help="end after the request was shown")
    options = parser.parse_args()
    if options.service:
        serve_privately()
    else:
        complaint = ""
        try:
            trio.run(partial(main, once=options.once))
        except* DemoFailed as failed:
            complaint = f"demo: {innermost(failed)}"
        if complaint:
            raise SystemExit(complaint)
