"""The programs of the bench: nginx in three roles, iperf3, the kit's private service, and our pair. Each on a free port, with
its own directory, started here and stopped here.

Plain processes and polling: nothing of the bench may share an event loop with what it measures.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.kit.programs import free_port, script

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COMPILED = ROOT / ".compiled"  # what `make wheel` leaves there
READY_WITHIN = 20.0
SMALL = b"hello from the private service..."  # the answer of nginx/direct.conf
NAME = "bench.localhost"


class BenchFailed(Exception):
    """Something did not start, or an answer was wrong: no figure is better than a wrong one."""


def raise_descriptor_limit() -> None:
    """As many descriptors as this user may have; the children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Process:
    """One child; its output goes to a file that is shown when something fails."""

    def __init__(self, name: str, words: Sequence[str], directory: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = directory / f"{name}.out"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if env is None else env),
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_port(self, port: int) -> None:
        """Until somebody accepts on 127.0.0.1:`port`."""
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise BenchFailed(f"{self.name} did not come up:\n{self.tail()}")

    def wait_for_line(self) -> str:
        """Until it printed its first line."""
        end = time.monotonic() + READY_WITHIN
        while time.monotonic() < end:
            text = self.log.read_text(errors="replace")
            if "\n" in text:
                return text.partition("\n")[0]
            time.sleep(0.02)
        raise BenchFailed(f"{self.name} said nothing")

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # -- what the kernel knows of it
    def resident(self) -> int:
        """Bytes in memory that are its own (proportional share of what is shared)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise BenchFailed(f"no memory figure for {self.name}")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Pair:
    """Our two programs. `http_port` with Host `host` reaches the small service, `kit_host` the kit's, `flood_host` the flood;
    `tcp` are tunnel ports by name: iperf, kit."""

    server: Process
    agent: Process
    http_port: int
    tunnel_port: int
    tcp: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{NAME}:{self.http_port}"

    @property
    def kit_host(self) -> str:
        return f"kit.localhost:{self.http_port}"

    @property
    def flood_host(self) -> str:
        return f"flood.localhost:{self.http_port}"

    def stop(self) -> None:
        self.agent.stop()
        self.server.stop()


class Peers:
    """Everything that runs during the bench. A context: leaving it stops all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[Process] = []
        self.direct = self.proxy = self.front = self.iperf = self.kit = self.flood = 0
        self.profile_into: Path | None = None
        self._count = 0

    @property
    def compiled(self) -> bool:
        """Whether the compiled programs are there."""
        return (COMPILED / ".built").exists()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.stop()

    def start(self, name: str, words: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        process = Process(name, words, self.directory, env)
        self.processes.append(process)
        return process

    def start_nginx(self) -> None:
        """direct, proxy, and front -> TLS -> back."""
        self._certificate()
        ports = {"DIRECT": free_port(), "PROXY": free_port(), "FRONT": free_port(), "BACK": free_port()}
        for role in ("direct", "proxy", "back", "front"):
            text = (HERE / "nginx" / f"{role}.conf").read_text()
            for key, value in {**ports, "DIR": self.directory}.items():
                text = text.replace(f"%{key}%", str(value))
            file = self.directory / f"{role}.conf"
            file.write_text(text)
            nginx = self.start(f"nginx-{role}", ["nginx", "-p", str(self.directory), "-c", str(file)])
            nginx.wait_for_port(ports[role.upper()])
        self.direct, self.proxy, self.front = ports["DIRECT"], ports["PROXY"], ports["FRONT"]
        for port in (self.direct, self.proxy, self.front):
            check_small(port, NAME)

    def _certificate(self) -> None:
        out = [str(self.directory / "bench.key"), "-out", str(self.directory / "bench.crt")]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench"]
        subprocess.run(["openssl", "req", "-x509", *curve, "-keyout", *out], check=True, capture_output=True)

    def pin(self, name: str, cores: set[int]) -> None:
        """Let the processes of that name, and their children, run on these cores only."""
        for process in self.processes:
            if process.name == name:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for pid in (process.pid, *map(int, children)):
                    os.sched_setaffinity(pid, cores)

    def start_services(self) -> None:
        """iperf3, the flood, and the kit's private service."""
        self.iperf = free_port()
        self.start("iperf3", ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(self.iperf)]).wait_for_port(self.iperf)
        kit = self.start("kit", [sys.executable, "-m", "tests.kit.upstream"])
        self.kit = json.loads(kit.wait_for_line())["http"]
        flood = self.start("flood", [sys.executable, "-m", "tests.bench.flood", "serve"])
        self.flood = json.loads(flood.wait_for_line())["port"]

    def line(self, target: int, arguments: str) -> int:
        """The port of a long line to `target`."""
        self._count += 1
        line = self.start(
            f"line{self._count}", [sys.executable, "-m", "tests.kit.delay", str(target), *arguments.split()]
        )
        return int(json.loads(line.wait_for_line())["port"])

    def pair(
        self,
        *,
        through: str | None = None,
        mux: bool = True,
        inspect: bool = False,
        open_server: bool = False,
        compiled: bool = False,
    ) -> Pair:
        """Start ngrokd and ngrokc and wait until every tunnel answers. `through`: arguments of tests.kit.delay for a long
        line between them. `compiled`: as `make wheel` built them."""
        self._count += 1
        name = f"pair{self._count}"
        home = self.directory / name
        home.mkdir()
        env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "NO_COLOR": "1"}
        if compiled:
            env["PYTHONPATH"] = str(COMPILED)
        http_port, tunnel_port = free_port(), free_port()
        flags = [f"-httpAddr=127.0.0.1:{http_port}", "-httpsAddr=", f"-tunnelAddr=127.0.0.1:{tunnel_port}"]
        flags += [f"-stateDir={home / 'ngrokd'}", "-log=stdout", "-log-level=WARNING", "-logFormat=json"]
        server = self.start(f"{name}-ngrokd", [*self._program("ngrokd"), "-domain=localhost", *flags], env)
        server.wait_for_port(tunnel_port)
        reached = tunnel_port
        if through is not None:
            line = self.start(
                f"{name}-line", [sys.executable, "-m", "tests.kit.delay", str(tunnel_port), *through.split()]
            )
            reached = json.loads(line.wait_for_line())["port"]
        tcp = {"iperf": free_port(), "kit": free_port()}
        config = {
            "server_addr": f"127.0.0.1:{reached}",
            "inspect_addr": f"127.0.0.1:{free_port()}" if inspect else "disabled",
            **({} if mux else {"mux": False}),
            "tunnels": {
                "bench": {"proto": {"http": self.direct}},
                "kit": {"proto": {"http": self.kit}},
                "flood": {"proto": {"http": self.flood}},
                "iperf": {"proto": {"tcp": self.iperf}, "remote_port": tcp["iperf"]},
                "kit-tcp": {"proto": {"tcp": self.kit}, "remote_port": tcp["kit"]},
            },
        }
        file = home / "ngrokc.yml"
        file.write_text(json.dumps(config))
        agent = self.start(
            f"{name}-ngrokc", [*self._program("ngrokc"), f"-config={file}", "-log=stdout", "start-all"], env
        )
        pair = Pair(server, agent, http_port, tunnel_port, tcp)
        self._wait_for_tunnels(pair)
        return pair

    def _program(self, name: str) -> list[str]:
        """The words that start `name`, under the profiler when one is wanted."""
        if self.profile_into is None:
            return [script(name)]
        return [sys.executable, "-m", "cProfile", "-o", str(self.profile_into / f"{name}.prof"), "-m", f"{name}.cli"]

    def _wait_for_tunnels(self, pair: Pair) -> None:
        end = time.monotonic() + READY_WITHIN
        while True:
            try:
                check_small(pair.http_port, pair.host)
                # iperf3 serves one client at a time and would take a mere connection for one: only the kit is tried
                socket.create_connection(("127.0.0.1", pair.tcp["kit"]), timeout=1).close()
                return
            except (OSError, BenchFailed, http.client.HTTPException) as error:
                if time.monotonic() > end or pair.agent.process.poll() is not None:
                    logs = f"{pair.server.tail()}\n{pair.agent.tail()}"
                    raise BenchFailed(f"the pair did not come up: {error}\n{logs}") from error
                time.sleep(0.05)


def check_small(port: int, host: str) -> None:
    """One request for the small answer, compared byte by byte. Raises BenchFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or body != SMALL:
            raise BenchFailed(f"port {port} answered {answer.status} {body[:80]!r}")
    finally:
        connection.close()
