"""From flags, environment and file to what the agent shall do: every value checked, nothing connected.

Precedence: file, then environment (only NGROK_AUTHTOKEN and the proxies), then flags. Raises ConfigError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from ngrokc.config import Config, inspect_address, load, server_address
from ngrokc.flags import COMMANDS, Request
from ngrokc.options import TunnelOptions, host_header
from ngrokc.tunnel_spec import TunnelSpec, check_spec, split_protocols
from ngrokc.yaml_nodes import did_you_mean
from protocol.address import HostPort, parse_port, parse_upstream
from protocol.errors import ConfigError, Fault
from protocol.link.proxy_connect import ProxyUrl, parse_proxy, proxy_from_environment
from protocol.link.trust import ClientTls, parse_pin
from protocol.secret import Secret

Value = TypeVar("Value")

TOKEN_VARIABLE = "NGROK_AUTHTOKEN"  # noqa: S105 - the variable's name
DEFAULT_TUNNEL = "default"  # what 1.7 calls the tunnel of the command line


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `save_token`: the token came by flag or in the old format, so it goes into `config.path` once the
    server accepted it."""

    config: Config
    server: HostPort
    tunnels: tuple[TunnelSpec, ...]
    proxy: ProxyUrl | None
    save_token: bool


def default_path(environ: Mapping[str, str]) -> Path:
    """Where the configuration is when no flag says: as in 1.7."""
    return Path(environ.get("HOME") or "~").expanduser() / ".ngrok"


def read_config(request: Request, environ: Mapping[str, str]) -> Config:
    """The configuration with the flags laid over it. Raises ConfigError."""
    named = request.flag("config")
    config = load(Path(named) if named else default_path(environ), required=bool(named))
    if environ.get(TOKEN_VARIABLE):
        config = replace(config, token=Secret(environ[TOKEN_VARIABLE].strip()))
    given = request.given
    if "authtoken" in given:
        config = replace(config, token=Secret(given["authtoken"].strip()))
    if "server" in given:
        config = replace(config, server=_flag("server", lambda: server_address(given["server"])))
    if "inspectAddr" in given:
        config = replace(config, inspect_addr=_flag("inspectAddr", lambda: inspect_address(given["inspectAddr"])))
    if "ca" in given:
        config = replace(config, ca=given["ca"])
    if "pin" in given:
        config = replace(config, pin=_flag("pin", lambda: parse_pin(given["pin"])))
    return config


def make_plan(request: Request, environ: Mapping[str, str]) -> Plan:
    """Everything that a run needs, for `start`, `start-all` and the port form. Raises ConfigError."""
    config = read_config(request, environ)
    tunnels = _tunnels(request, config)
    if config.server is None:
        raise ConfigError(
            "no server was named",
            hint="add -server=HOST (your ngrokd), or server_addr: HOST:4443 to the configuration file",
            file=str(config.path) if config.tunnels and config.path else "",
        )
    ClientTls(ca=config.ca, pin=config.pin)  # a file that can't be read is an error now
    proxy = parse_proxy(config.proxy.reveal()) if config.proxy else None
    proxy = proxy or proxy_from_environment(environ, config.server.host, config.server.port)
    keep = bool(config.token) and (
        "authtoken" in request.given or (config.old_format and not environ.get(TOKEN_VARIABLE))
    )
    return Plan(config, config.server, tunnels, proxy, save_token=keep)


def _tunnels(request: Request, config: Config) -> tuple[TunnelSpec, ...]:
    if request.command == "start-all":
        return tuple(config.tunnels.values())
    if request.command == "start":
        return tuple(_named(config, name) for name in dict.fromkeys(request.arguments))
    return (_from_flags(request, config),)


def _named(config: Config, name: str) -> TunnelSpec:
    spec = config.tunnels.get(name)
    if spec is None:
        names = ", ".join(config.tunnels) or "none at all"
        hint = did_you_mean(name, config.tunnels) or f"the file has: {names}"
        raise ConfigError(f"there is no tunnel {name!r}", hint=hint, file=str(config.path or ""))
    return spec


def _from_flags(request: Request, config: Config) -> TunnelSpec:
    text = request.arguments[0]
    try:
        upstream = parse_upstream(text, verify=config.options.verify)
    except Fault as fault:
        if text.replace("-", "").isalpha():
            hint = did_you_mean(text, COMMANDS) or "a port, or host:port; all of it: ngrokc help"
            raise ConfigError(f"{text!r} is no command and no address", hint=hint) from fault
        raise ConfigError(f"{text!r}: {fault.message}", hint=fault.hint) from fault
    protocols = _flag("proto", lambda: split_protocols(request.flag("proto")))
    port_text = request.flag("remotePort")
    spec = TunnelSpec(
        DEFAULT_TUNNEL,
        MappingProxyType(dict.fromkeys(protocols, upstream)),
        subdomain=request.flag("subdomain"),
        hostname=request.flag("hostname"),
        remote_port=_flag("remotePort", lambda: parse_port(port_text, zero=True)) if port_text else 0,
        auth=Secret(request.flag("httpauth")),
        options=_options(request, config),
    )
    try:
        check_spec(spec)
    except ConfigError as error:
        raise ConfigError(_in_flag_words(error.message), hint=_in_flag_words(error.hint)) from error
    return spec


def _options(request: Request, config: Config) -> TunnelOptions:
    if "hostHeader" not in request.given:
        return config.options
    return replace(config.options, host_header=_flag("hostHeader", lambda: host_header(request.flag("hostHeader"))))


def _in_flag_words(text: str) -> str:
    """Faults of a tunnel speak of the file's keys; on the command line they have other names."""
    for key, flag in (
        ("remote_port", "-remotePort"),
        ("auth must", "-httpauth must"),
        ("auth,", "-httpauth,"),
        ("subdomain:", "-subdomain:"),
        ("hostname:", "-hostname:"),
    ):
        text = text.replace(key, flag)
    return text


def _flag(name: str, read: Callable[[], Value]) -> Value:
    """Read a flag's value; a fault gets the flag's name."""
    try:
        return read()
    except Fault as fault:
        raise ConfigError(f"-{name}: {fault.message}", hint=fault.hint) from fault
