"""The words behind `ngrokc`: which flags there are, which commands, and what a command line asks for. Pure.

The flags are 1.7's, with one dash or two, `-x v` or `-x=v`, and also behind the port or command. What is asked for comes out
as one `Request`; nothing is read, opened or connected here. Raises click.UsageError with a hint for what makes no sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import click

from ngrokc.yaml_nodes import did_you_mean
from protocol.argv import normalise

# name -> (default, placeholder, help)
VALUED = MappingProxyType({
    "config": ("", "FILE", "configuration file (default: .ngrok in your home directory)"),
    "log": ("none", "TARGET", "write the log to a file, `stdout` (then there is no screen) or `none`"),
    "log-level": ("INFO", "LEVEL", "DEBUG, INFO, WARNING or ERROR"),
    "server": ("", "ADDR", "the ngrokd to use, host or host:port (default port 4443)"),
    "authtoken": ("", "TOKEN", "token for the server; kept in the configuration file once it was accepted"),
    "httpauth": ("", "USER:PASSWORD", "ask visitors for this name and password"),
    "subdomain": ("", "NAME", "ask for this name below the server's domain"),
    "hostname": ("", "NAME", "ask for this full host name; goes before -subdomain"),
    "hostHeader": ("", "VALUE", "what the service gets as Host: `preserve`, `rewrite` (its own address) or a name"),
    "proto": ("http+https", "PROTO", "http, https, tcp or several joined with +"),
    "remotePort": ("", "PORT", "tcp: ask for this public port"),
    "inspectAddr": ("", "ADDR", "where the inspector listens, or `disabled` (default: 127.0.0.1:4040)"),
    "ca": ("", "FILE", "PEM file with the certificate authority to believe"),
    "url-file": ("", "FILE", "write the first URL to this file while the tunnel is open"),
    "pin": ("", "FINGERPRINT", "believe only the server with this key; ngrokd prints it at its start"),
})  # fmt: skip
SWITCHES = MappingProxyType({
    "qr": "print the QR code of each URL",
    "json": "print what happens as JSON lines on stdout instead; also behind check",
    "origin": "behind `config show`: where each value comes from",
})  # fmt: skip
COMMANDS = ("start", "start-all", "list", "check", "config", "version", "help")
ONLY_PORT_FORM = ("httpauth", "subdomain", "hostname", "hostHeader", "proto", "remotePort")
LEVELS = ("FINEST", "FINE", "DEBUG", "TRACE", "INFO", "WARNING", "ERROR", "CRITICAL")

USAGE = """Usage: ngrokc [options] PORT-OR-ADDRESS
       ngrokc [options] start NAME...
       ngrokc [options] start-all | list | check | config show | version | help

Make a service on this machine public through your own ngrokd.

Examples:
  ngrokc -server=example.me 8080                     a web service, under a random name
  ngrokc -server=example.me -subdomain=test 8080     http://test.example.me -> 127.0.0.1:8080
  ngrokc -proto=tcp -remotePort=2222 22              ssh
  ngrokc -hostname=shop.example.org -httpauth="user:secret" localhost:3000
  ngrokc -config=debug.yml -log=ngrok.log start test ssh
  ngrokc -log=stdout start-all

Options (one dash or two, before or behind the rest):
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A command line, understood. `command` is one of COMMANDS or `port`; `arguments` what follows it (the address for
    `port`). `given` holds the flags that were written, with their values."""

    command: str
    arguments: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)

    def flag(self, name: str) -> str:
        """The flag's value, or its default."""
        return self.given.get(name, VALUED[name][0])

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.given.get(name) == "True"


def usage() -> str:
    """The help text."""
    lines = [f"  -{name}={placeholder}".ljust(26) + text for name, (_, placeholder, text) in VALUED.items()]
    lines += [f"  -{name}".ljust(26) + text for name, text in SWITCHES.items()]
    return USAGE + "\n".join(lines) + "\n"


def understand(words: Sequence[str]) -> Request:
    """What the command line (without the program's name) asks for."""
    plain = normalise(words, switches=SWITCHES, valued=VALUED)
    bare = {f"--{name}" for name in SWITCHES}
    plain = [f"{word}=true" if word in bare else word for word in plain]  # behind a command they have no value yet
    context = _command().make_context("ngrokc", plain, allow_interspersed_args=True)
    if context.params["version"]:
        return Request("version")
    given = {
        name: str(context.params[_parameter(name)])
        for name in (*VALUED, *SWITCHES)
        if context.params[_parameter(name)] is not None
    }
    positional = tuple(context.params["words"])
    if context.params["help"] or positional[:1] == ("help",):
        return Request("help")
    if given.get("log-level", "INFO") not in LEVELS:
        level = given["log-level"]
        raise click.UsageError(f"-log-level: {level!r} is no level; DEBUG, INFO, WARNING or ERROR")
    if not positional:
        raise click.UsageError("a port or a command is missing; for example: ngrokc 8080. All of it: ngrokc help")
    if positional[0] not in COMMANDS:
        return _port_form(positional, given)
    return _command_form(positional, given)


def _port_form(positional: tuple[str, ...], given: dict[str, str]) -> Request:
    if len(positional) > 1:
        hint = did_you_mean(positional[0], COMMANDS)
        raise click.UsageError(
            f"one port or address is enough, there are {len(positional)}{'; ' + hint if hint else ''}"
        )
    return Request("port", positional, given)


def _command_form(positional: tuple[str, ...], given: dict[str, str]) -> Request:
    command, arguments = positional[0], positional[1:]
    if command == "start" and not arguments:
        raise click.UsageError("start needs the name of a tunnel from the configuration file; all of them: start-all")
    if command == "config" and arguments != ("show",):
        raise click.UsageError("config knows one word: ngrokc config show")
    if "origin" in given and command != "config":
        raise click.UsageError("-origin: only behind `ngrokc config show`")
    if command not in ("start", "config") and arguments:
        raise click.UsageError(f"{command} takes nothing behind it, found {arguments[0]!r}")
    misplaced = [name for name in ONLY_PORT_FORM if name in given]
    if command in ("start", "start-all") and misplaced:
        names = ", ".join(f"-{name}" for name in misplaced)
        raise click.UsageError(
            f"{names}: only for `ngrokc PORT`; tunnels of {command} are described in the configuration file"
        )
    return Request(command, arguments, given)


def _parameter(name: str) -> str:
    return "flag_" + name.replace("-", "_").lower()


def _command() -> click.Command:
    options: list[click.Parameter] = [click.Option([f"--{name}", _parameter(name)], default=None) for name in VALUED]
    options += [click.Option([f"--{name}", _parameter(name)], default=None, type=bool) for name in SWITCHES]
    options += [click.Option([f"--{name}", name], is_flag=True) for name in ("help", "version")]
    options.append(click.Argument(["words"], nargs=-1))
    return click.Command("ngrokc", params=options, add_help_option=False)
