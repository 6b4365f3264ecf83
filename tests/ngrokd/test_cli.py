"""The command line: Go's ways of writing flags, one line for each mistake, exit codes, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from ngrokd import cli
from ngrokd.settings import Settings, flags
from protocol.address import HostPort
from protocol.errors import Fault


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What would be served; nothing is."""
    found: list[Settings] = []

    def serve(settings: Settings, _reread: object) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(cli, "serve", serve)
    for name in list(os.environ):
        if name.startswith("NGROKD_") or name in ("VHOST", "REGISTRY_CACHE_FILE"):
            monkeypatch.delenv(name)
    return found


def run(*words: str) -> object:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    return caught.value.code


@pytest.mark.parametrize(
    "words",
    [
        ("-domain", "a.me", "-httpAddr", ":8080", "-open"),
        ("--domain", "a.me", "--httpAddr", ":8080", "--open"),
        ("-domain=a.me", "-httpAddr=:8080", "-open=true"),
        ("--open=t", "--httpAddr=:8080", "-domain=a.me"),
    ],
)
def test_one_dash_or_two_space_or_equals(words: tuple[str, ...], served: list[Settings]) -> None:
    assert run(*words) == 0
    (settings,) = served
    assert (settings.domain, settings.http_addr, settings.open) == ("a.me", HostPort("", 8080), True)


def test_a_listener_is_turned_off_by_an_empty_flag(served: list[Settings]) -> None:
    assert run("-httpAddr", "", "-httpsAddr=") == 0
    assert (served[0].http_addr, served[0].https_addr) == (None, None)


def test_a_flag_wins_over_the_environment(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGROKD_DOMAIN", "env.me")
    monkeypatch.setenv("VHOST", "v.me:81")
    monkeypatch.setenv("REGISTRY_CACHE_FILE", "/c")
    monkeypatch.setenv("NGROKD_HTTP_ADDR", "")  # empty: as if it were not set
    assert run() == 0
    assert run("-domain=flag.me", "-vhost", "w.me") == 0
    assert (served[0].domain, served[0].vhost, served[0].registry_cache_file) == ("env.me", "v.me:81", Path("/c"))
    assert served[0].http_addr == HostPort("", 80)
    assert (served[1].domain, served[1].vhost) == ("flag.me", "w.me")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-nonsense",), "unknown flag -nonsense; see ngrokd -help"),
        (("-htpAddr", ":1"), "unknown flag -htpAddr; did you mean -httpAddr?"),
        (("-domain",), "option '-domain' requires an argument"),
        (("-grace", "soon"), "-grace: "),
        (("-open=perhaps",), "-open: "),
        (("-tlsCrt", "/x"), "-tlsCrt is given without -tlsKey"),
        (("dance",), "no such command 'dance'"),
        (("-log-level=LOUD",), "-log-level: "),
        (("stat",), "no such command 'stat'; did you mean 'status'?"),
        (("token",), "ngrokd token needs a word behind it: add, list, revoke, rotate, set; see ngrokd token -help"),
        (("token", "ad"), "no such command 'ad'; did you mean 'add'?"),
        (("token", "add", "x", "--expire=3d"), "unknown flag -expire; did you mean -expires?"),
        (("status", "-stateDir=/x"), "unknown flag -stateDir behind status; flags of the server stand in front: "),
        (("kick",), "missing argument 'WHO'; see ngrokd kick -help"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    words: tuple[str, ...], text: str, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"ngrokd: {text}")
    assert served == []


def test_a_server_that_cannot_start_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(_settings: Settings, _reread: object) -> int:
        raise Fault("cannot_listen", "port 80 is taken", hint="choose another with -httpAddr")

    monkeypatch.setattr(cli, "serve", serve)
    assert run() == 1
    assert capsys.readouterr().err == "ngrokd: port 80 is taken; choose another with -httpAddr\n"


@pytest.mark.parametrize("flag", ["-help", "--help", "-h"])
def test_help_shows_every_flag_with_one_dash(
    flag: str, served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(flag) == 0
    text = capsys.readouterr().out
    for known in flags().values():
        assert f"  -{known.name} " in text
    assert not re.search(r"^\s+--", text, re.MULTILINE)
    assert served == []


@pytest.mark.parametrize("word", ["version", "-version", "--version"])
def test_version(word: str, served: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(word) == 0
    assert capsys.readouterr().out.startswith("ngrokd ")
    assert served == []


def test_help_is_a_command_too(served: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("help") == 0
    assert capsys.readouterr().out.startswith("Usage: ngrokd [OPTIONS]")
    assert served == []


def test_commands_find_the_settings(monkeypatch: pytest.MonkeyPatch, served: list[Settings]) -> None:
    """How other modules add commands: flags before them reach `ctx.obj`."""
    seen: list[Any] = []

    @click.command("probe")
    @click.option("--deep", type=int)
    @click.pass_obj
    def probe(settings: Settings, deep: int) -> None:
        seen.append((settings.state_dir, deep))

    group = cli.build()
    group.add_command(probe)
    monkeypatch.setattr(cli, "build", lambda: group)
    assert run("-stateDir", "/s", "probe", "-deep", "3") == 0
    assert seen == [(Path("/s"), 3)]
    assert served == []


# -- the real program
def start(tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    flags = ["-httpAddr=127.0.0.1:0", "-httpsAddr=", "-tunnelAddr=127.0.0.1:0", f"-stateDir={tmp_path}/s", *words]
    return subprocess.Popen(
        [sys.executable, "-m", "ngrokd.cli", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read_until(program: subprocess.Popen[str], mark: str) -> str:
    assert program.stdout is not None
    seen = ""
    for line in program.stdout:
        seen += line
        if mark in line:
            return seen
    raise AssertionError(f"ended without {mark!r}: {seen}")


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as program:
        text = read_until(program, "ngrokd is up")
        assert "sha256:" in text
        program.send_signal(number)
        assert program.wait(10) == 0


@pytest.mark.e2e
def test_with_the_log_elsewhere_the_start_is_printed(tmp_path: Path) -> None:
    with start(tmp_path, f"-log={tmp_path}/log", "-logFormat=json") as program:
        assert "tunnel" in read_until(program, "pin ")
        program.terminate()
        assert program.wait(10) == 0
    assert '"ngrokd is up"' in (tmp_path / "log").read_text()


@pytest.mark.e2e
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    import socket

    with start(tmp_path, "-grace=100") as program:
        match = re.search(r"http='127.0.0.1:(\d+)'", read_until(program, "ngrokd is up"))
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1]))) as visitor:
            visitor.send(b"GET / HTTP/1.1\r\n")
            program.terminate()
            read_until(program, "stopping")
            program.terminate()
            assert program.wait(10) == 0
