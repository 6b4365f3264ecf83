"""The command line of ngrokc: 1.7's words, and what becomes of them.

Rules for what it prints: errors are one line on stderr, `ngrokc: ` in front, lower case, and a second line with a hint where
there is one. Help, names, version and status lines go to stdout. With `-log=stdout` only the log goes there. Everything is
checked before anything connects. Exit codes: 0 stopped by the user, 1 usage or configuration, 2 refused by the server for good.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ngrokc.flags import SWITCHES, VALUED, Request, understand, usage
from ngrokc.plan import Plan, make_plan, read_config
from ngrokc.version import VERSION
from ngrokc.yaml_nodes import did_you_mean
from protocol.errors import ConfigError, Fault

if TYPE_CHECKING:
    from ngrokc.shown import Looks

EXIT_OK, EXIT_USAGE = 0, 1


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Never returns: raises SystemExit with the exit code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(words: Sequence[str]) -> int:
    """Do what the words say; the exit code."""
    try:
        request = understand(words)
        return _do(request)
    except click.UsageError as error:
        _complain(_in_our_words(error), "")
    except ConfigError as error:
        place = f"{error.place}: " if error.place else ""
        _complain(place + error.message, error.hint)
    except Fault as error:
        _complain(error.message, error.hint)
    except BrokenPipeError:  # `ngrokc check | head`; nothing more can be shown, not at the interpreter's end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:  # before the agent took over the signals
        return EXIT_OK
    return EXIT_USAGE


def _do(request: Request) -> int:
    if request.command == "help":
        return _print(usage().rstrip("\n"))
    if request.command == "version":
        return _print(VERSION)
    if request.command == "list":
        names = read_config(request, os.environ).tunnels
        return _print("\n".join(names)) if names else EXIT_OK
    if request.command == "config":
        return _print(_config(request))
    if request.command == "check":
        return _check(make_plan(replace(request, command="start-all"), os.environ), request)
    return _serve(make_plan(request, os.environ), request)


def _config(request: Request) -> str:
    from ngrokc import origins

    found = list(origins.values(read_config(request, os.environ), request, os.environ))
    return origins.show(found, origin=request.switch("origin"))


def _check(plan: Plan, request: Request) -> int:
    """Print each finding as it comes; 1 when something failed."""
    import trio

    from ngrokc import check

    failed = False

    async def look() -> None:
        nonlocal failed
        async for finding in check.findings(plan):
            failed = failed or finding.state == "fail"
            _print(json.dumps(asdict(finding)) if request.switch("json") else check.line(finding))

    trio.run(look)
    return EXIT_USAGE if failed else EXIT_OK


def _serve(plan: Plan, request: Request) -> int:
    # Heavy imports wait until the words make sense: a usage error is told at once.
    import trio

    from ngrokc.run import run_agent
    from protocol.link.garbage import settle_collector
    from protocol.link.logs import LineWriter, open_log

    url_file = request.flag("url-file")
    if url_file and not Path(url_file).absolute().parent.is_dir():
        raise ConfigError("-url-file: its directory is not there", file=url_file, hint="make it, or name another file")
    target = request.flag("log")
    try:
        sink = open_log(target, request.flag("log-level"), program="ngrokc")
    except OSError as error:
        raise ConfigError(
            f"the log can't be opened: {error.strerror}", file=target, hint="name another with -log"
        ) from error
    lines = looks = None
    if target != "stdout":
        lines = LineWriter(sys.stdout, owns=False, complain=lambda text: _complain(text, ""))
        looks = _looks(request, lines.write)
    settle_collector()
    try:
        return trio.run(run_agent, plan, sink.logger, looks, partial(make_plan, request, os.environ))
    finally:
        if lines is not None:
            lines.close()
        sink.close()


def _looks(request: Request, write: Callable[[str], None]) -> Looks:
    """How stdout is used."""
    from ngrokc.shown import Looks
    from ngrokc.terminal import usable

    as_json = request.switch("json")
    url_file = request.flag("url-file")
    return Looks(
        write=write,
        complain=lambda text: _complain(text, ""),
        screen=usable() and not as_json and not request.switch("qr"),
        bare=not sys.stdout.isatty(),
        qr=request.switch("qr"),
        as_json=as_json,
        url_file=Path(url_file) if url_file else None,
    )


def _print(text: str) -> int:
    sys.stdout.write(text + "\n")
    return EXIT_OK


def _complain(message: str, hint: str) -> None:
    sys.stderr.write(f"ngrokc: {message}\n" + (f"  hint: {hint}\n" if hint else ""))


def _in_our_words(error: click.UsageError) -> str:
    """Click's sentence in our style: one dash, lower case, no full stop."""
    if isinstance(error, click.NoSuchOption):
        name = "-" + error.option_name.lstrip("-")
        guess = did_you_mean(name, [f"-{known}" for known in (*VALUED, *SWITCHES)])
        return f"unknown flag {name}; {guess or 'all of them: ngrokc help'}"
    text = error.format_message().replace("--", "-").partition(". Recognized values")[0].rstrip(".")
    text = text.replace("is not a valid boolean", "is neither true nor false")
    text = text.replace("'", "") if text.startswith("Option") else text
    return text[:1].lower() + text[1:]


if __name__ == "__main__":
    main()
