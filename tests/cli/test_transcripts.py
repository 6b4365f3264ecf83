"""What is typed and what comes back, as transcripts: each runs against a stopped server and against a running one, but for
those whose file says which (`NAME.running.txt`, `NAME.stopped.txt`).

A transcript is text: `$ command`, the lines it prints, `! ` before lines of stderr, `[code]` when it is not 0, `...` for any
output. Comments begin with #.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio

from ngrokd.cli import main
from ngrokd.server import Server
from ngrokd.settings import settings_from

HERE = Path(__file__).parent
PLACES = {
    "token": r"nt_[a-z0-9]{10}_[A-Za-z0-9]{26}_[A-Za-z0-9_-]{43}",
    "id": "[a-z0-9]{10}",
    "time": r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}",
    "n": r"[0-9.]+",
    "pin": r"sha256:[0-9a-f]{64}",
    "any": r"[^\n]*",
}


def steps(text: str) -> Iterator[tuple[str, str]]:
    """(command, what is expected) of each step."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for block in "\n".join(lines).split("\n$ ")[1:]:
        command, _, expected = block.partition("\n")
        yield command, expected.strip("\n")


def pattern(expected: str) -> str:
    """The expectation as a regular expression."""
    parts = re.split(r"\{(\w+)\}", re.escape(expected).replace(r"\{", "{").replace(r"\}", "}"))
    return "".join(PLACES[part] if number % 2 else part for number, part in enumerate(parts))


def run(words: list[str]) -> str:
    """What the program prints, as a transcript shows it."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as caught:
        main(words)
    shown = [*out.getvalue().rstrip("\n").splitlines(), *(f"! {line}" for line in err.getvalue().splitlines())]
    if caught.value.code:
        shown.append(f"[{caught.value.code}]")
    return "\n".join(shown)


@contextlib.contextmanager
def running(state: Path) -> Iterator[None]:
    """A server on this state, in a thread of its own."""
    settings = settings_from({
        "state_dir": state, "domain": "example.me", "http_addr": "127.0.0.1:0", "https_addr": "",
        "tunnel_addr": "127.0.0.1:0", "grace": 0,
    })  # fmt: skip
    server = Server(settings, structlog.wrap_logger(structlog.PrintLogger(io.StringIO())))
    ready, tokens = threading.Event(), list[trio.lowlevel.TrioToken]()

    async def serve() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(20)
    yield
    tokens[0].run_sync_soon(server.stop)
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("server", ["stopped", "running"])
@pytest.mark.parametrize("name", sorted(path.stem for path in HERE.glob("*.txt")))
def test_transcript(name: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("NGROKD_STATE_DIR", str(state))
    with running(state):
        pass  # so that a stopped server has run before, and its domain is known
    if name.rpartition(".")[2] in ("running", "stopped") and not name.endswith(server):
        pytest.skip("for the other kind")
    text = (HERE / f"{name}.txt").read_text().replace("{dir}", str(tmp_path))
    with running(state) if server == "running" else contextlib.nullcontext():
        for command, expected in steps(text):
            program, *words = shlex.split(command)
            assert program == "ngrokd"
            found = run(words)
            if expected != "...":
                assert re.fullmatch(pattern(expected), found), f"$ {command}\n{found}\n--- expected\n{expected}"
