"""The command line of ngrokd: flags as in 1.7, and commands. Without a command it serves.

It turns words into Settings, opens the log, runs the server and turns faults into one line and an exit code. What runs
is `server`'s business. A command (`ngrokd token ...`) is a click command of another module, added in `build`; it finds
the Settings in `ctx.obj`, so `-stateDir` and the environment mean the same to all of them.

What goes where: a wrong command line is one line on stderr and exit 2, a server that can't start or breaks is exit 1,
one that was told to stop is exit 0. Flags are written with one dash, as in 1.7; two work as well.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

import click
import trio

from ngrokd.commands.mount import register
from ngrokd.configfile import read_settings
from ngrokd.notify import Notifier
from ngrokd.server import Server
from ngrokd.settings import Flag, Settings, flags
from ngrokd.successor import Successor, own_words, tell_predecessor
from ngrokd.version import program_version
from protocol.argv import normalise
from protocol.errors import ConfigError, Fault
from protocol.link.garbage import settle_collector
from protocol.link.logs import LogSink, open_log

PROGRAM = "ngrokd"
EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
EXAMPLES = """\b
Examples:
  ngrokd -domain example.me
  ngrokd -domain localhost -httpAddr 127.0.0.1:8080 -httpsAddr ""
  ngrokd -domain example.me -httpAddr 127.0.0.1:8080 -publicUrl https://example.me
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Never returns: raises SystemExit with the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    names = {flag.name for flag in flags().values()}
    switches = {flag.name for field, flag in flags().items() if _is_switch(field)} | {"help"}
    try:
        code = build().main(
            normalise(words, switches=switches - {"help"}, valued=names - switches),
            prog_name=PROGRAM,
            standalone_mode=False,
        )
    except click.UsageError as error:
        code = _complain(_usage_text(error), EXIT_USAGE)
    except ConfigError as error:
        code = _complain(_one_line(error), EXIT_USAGE)
    except Fault as error:
        code = _complain(_one_line(error), EXIT_FAILED)
    except click.Abort:  # Ctrl-C before the server took over the signals
        code = EXIT_FAILED
    raise SystemExit(code if isinstance(code, int) else EXIT_OK)


def build() -> click.Group:
    """The click group: one option for each flag of Settings, and the commands."""
    group = _Group(
        PROGRAM,
        callback=_serve_unless_command,
        params=[_option(field, flag) for field, flag in flags().items()],
        invoke_without_command=True,
        help="Serve public names for agents behind NAT. Speaks ngrok 1.7 and a faster dialect with ngrokc.",
        epilog=EXAMPLES,
        context_settings={"help_option_names": ["--help"], "max_content_width": 110},
    )
    group.params.append(
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, hidden=True, callback=_version_and_end
        )
    )
    group.add_command(click.Command("version", callback=_print_version, help="Print the version."))
    group.add_command(click.Command("help", callback=_print_help, help="Show what there is."))
    register(group)
    return group


class _Group(click.Group):
    """Shows flags with one dash, the way they are written everywhere else."""

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).replace("  --", "  -")


def _option(field: str, flag: Flag) -> click.Option:
    if _is_switch(field):
        metavar = "[=true|false]"
    else:
        metavar = flag.metavar
    default = Settings.model_fields[field].default
    shown = "" if not default else f"  [{_shown(default)}]"
    return click.Option(
        [f"--{flag.name}", field],
        envvar=[*flag.env, f"NGROKD_{field.upper()}"],
        help=f"{flag.help}{shown}",
        default=None,
        type=str,
        metavar=metavar,
    )


def _shown(default: object) -> str:
    if isinstance(default, tuple) and not hasattr(default, "host"):
        return "-".join(str(part) for part in default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _is_switch(field: str) -> bool:
    return Settings.model_fields[field].annotation is bool


@click.pass_context
def _serve_unless_command(context: click.Context, /, **values: Any) -> int | None:
    given = _empty_means_default(context, {name: value for name, value in values.items() if value is not None})
    settings = read_settings(given)
    context.obj = settings
    if context.invoked_subcommand is not None:
        return None
    return serve(settings, partial(read_settings, given))


def _empty_means_default(context: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """An empty environment variable counts as not set; an empty flag is a value (it turns a listener off)."""
    from_environment = click.core.ParameterSource.ENVIRONMENT
    return {
        name: value for name, value in values.items()
        if value != "" or context.get_parameter_source(name) is not from_environment
    }  # fmt: skip


def _print_version() -> None:
    click.echo(f"{PROGRAM} {program_version()}")


def _version_and_end(context: click.Context, _: click.Parameter, given: bool) -> None:
    """The habit of most programs: `--version` wherever the command `version` is not known."""
    if given:
        _print_version()
        context.exit()


@click.pass_context
def _print_help(context: click.Context) -> None:
    click.echo(context.find_root().get_help())


# -- serving
def serve(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """Serve until a signal; the exit code. `reread` gives the settings anew, for a reload. Raises Fault when the server
    can't start or breaks."""
    os.umask(0o077)
    try:
        sink = open_log(settings.log, settings.log_level, settings.log_format)
    except OSError as error:
        raise ConfigError(
            f"-log: {settings.log}: {error.strerror or error}", hint="name a file that can be written"
        ) from error
    failed: Fault | None = None  # raised below: CPython 3.11.2 wraps what is raised inside `except*` in a group again
    settle_collector()
    try:
        return trio.run(_serve, settings, sink, reread, strict_exception_groups=True)
    except* Fault as group:
        failed = _first(group)
    finally:
        sink.close()
    assert failed is not None
    raise failed


async def _serve(settings: Settings, sink: LogSink, reread: Callable[[], Settings] | None) -> int:
    notifier = Notifier(os.environ)
    server = Server(settings, sink.logger, reread=reread, notifier=notifier)
    server.sink = sink
    successor = Successor(own_words(), os.environ, sink.logger, lambda: server.replaced)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            tell_predecessor(os.environ)
            if settings.log != "stdout":
                _banner(server, sys.stdout)
            nursery.start_soon(_obey_signals, server, successor, signals, nursery)
            await server.stopped.wait()
            nursery.cancel_scope.cancel()
    return EXIT_OK


async def _obey_signals(server: Server, successor: Successor, signals: Any, nursery: trio.Nursery) -> None:
    """The first signal drains, the second ends at once; SIGHUP reloads; SIGUSR2 starts another process that takes over."""
    asked = False
    async for number in signals:
        if number == signal.SIGHUP:
            await server.try_reload("SIGHUP")
        elif number == signal.SIGUSR2:
            nursery.start_soon(successor.start)
        elif asked:
            nursery.cancel_scope.cancel()
        else:
            asked = True
            server.stop()


def _banner(server: Server, out: TextIO) -> None:
    """What a person needs when the log goes elsewhere."""
    for line in server.summary():
        print(line, file=out)
    out.flush()


# -- faults in one line
def _first(group: BaseExceptionGroup[Fault]) -> Fault:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Fault)
    return found


def _one_line(fault: Fault) -> str:
    message = fault.message
    if isinstance(fault, ConfigError) and fault.place and fault.file not in message:
        message = f"{fault.place}: {message}"
    return f"{message}; {fault.hint}" if fault.hint else message


def _usage_text(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    see = f"see {path} -help"
    if isinstance(error, click.NoSuchOption):
        return f"unknown flag {_unknown_flag(error, path, see)}"
    text = error.format_message().rstrip(".").replace("'--", "'-").replace(" --", " -")
    text = f"{text[:1].lower()}{text[1:]}".replace(". Did you mean", "; did you mean")
    if text == "missing command" and error.ctx is not None and isinstance(error.ctx.command, click.Group):
        text = f"{path} needs a word behind it: {', '.join(error.ctx.command.list_commands(error.ctx))}"
    return text if text.endswith("?") else f"{text}; {see}"


def _unknown_flag(error: click.NoSuchOption, path: str, see: str) -> str:
    """The flag and what was meant: one of the command's own, or one of the server's at the wrong place."""
    name = error.option_name.lstrip("-")
    of_server = [flag.name for flag in flags().values()]
    if name in of_server:
        command = path.removeprefix(PROGRAM).strip()
        return f"-{name} behind {command}; flags of the server stand in front: {PROGRAM} -{name}=... {command}"
    own = [] if error.ctx is None else [word for option in error.ctx.command.params for word in option.opts]
    near = difflib.get_close_matches(name, [word.lstrip("-") for word in own if word.startswith("--")], n=1)
    return f"-{name}; did you mean -{near[0]}?" if near else f"-{name}; {see}"


def _complain(text: str, code: int) -> int:
    """The line on stderr; `code` is what to exit with."""
    line = " ".join(text.split())
    print(f"{PROGRAM}: {line}", file=sys.stderr)  # noqa: T201 - this is the program's output
    tell_predecessor(os.environ, line)
    return code


if __name__ == "__main__":
    main()
