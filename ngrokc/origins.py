"""`ngrokc config show --origin`: what holds, and where it comes from: a flag, the environment, a line of the file, or us.

Secrets are shown masked. Reads the file once more for the lines; connects to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from ngrokc.config import Config
from ngrokc.flags import Request
from ngrokc.plan import TOKEN_VARIABLE
from ngrokc.tunnel_spec import TunnelSpec
from ngrokc.yaml_nodes import MAX_FILE, Table, parse
from protocol.errors import ConfigError
from protocol.link.files import read_capped

FLAGS: Final = {
    "server_addr": "server",
    "auth_token": "authtoken",
    "inspect_addr": "inspectAddr",
    "ca": "ca",
    "pin": "pin",
}
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Value:
    """One setting as text, with where it was said."""

    name: str
    text: str
    origin: str


def values(config: Config, request: Request, environ: Mapping[str, str]) -> Iterator[Value]:
    """All settings, tunnels too."""
    table = _table(config.path)
    shown = {
        "server_addr": str(config.server or ""),
        "auth_token": str(config.token),
        "inspect_addr": str(config.inspect_addr or "disabled"),
        "http_proxy": str(config.proxy),
        "ca": config.ca,
        "pin": config.pin,
        "mux": "true" if config.mux else "false",
        "on_conflict": config.options.on_conflict,
    }
    for name, text in shown.items():
        yield Value(name, text, _origin(name, config, request, environ, table))
    for name, spec in config.tunnels.items():
        target = ", ".join(f"{protocol} -> {upstream}" for protocol, upstream in spec.upstreams.items())
        wanted = spec.hostname or spec.subdomain or (str(spec.remote_port) if spec.remote_port else "any name")
        more = _more(spec, config)
        text = f"{wanted}: {target}{' with ' if more else ''}{', '.join(more)}"
        yield Value(f"tunnels.{name}", text, _line(table, config.path, "tunnels", name))


def _more(spec: TunnelSpec, config: Config) -> list[str]:
    """What else the tunnel says of itself; by name only, since headers and passwords are secrets."""
    changed = [
        option.name
        for option in fields(spec.options)
        if getattr(spec.options, option.name) != getattr(config.options, option.name)
    ]
    return [*(["auth"] if spec.auth else []), *changed]


def _origin(name: str, config: Config, request: Request, environ: Mapping[str, str], table: Table | None) -> str:
    flag = FLAGS.get(name)
    if flag is not None and flag in request.given:
        return f"flag -{flag}"
    if name == "auth_token" and environ.get(TOKEN_VARIABLE):
        return f"environment {TOKEN_VARIABLE}"
    if name == "auth_token" and config.old_format:
        return f"{config.path}:1"
    return _line(table, config.path, name)


def _line(table: Table | None, path: Path | None, *keys: str) -> str:
    """`file:line` of a key, or DEFAULT."""
    found = None
    for key in keys:
        item = table.get(key) if table is not None else None
        if item is None:
            return DEFAULT
        found = item
        table = item.table() if item.is_table else None
    return DEFAULT if found is None else f"{path}:{found.node.start_mark.line + 1}"


def _table(path: Path | None) -> Table | None:
    """The file's top; None when there is none or it is of the old format."""
    try:
        raw = read_capped(path, MAX_FILE) if path is not None else None
        top = parse(raw.decode("utf-8-sig"), str(path)) if raw else None
    except (OSError, ValueError, ConfigError):
        return None  # a file that matters was read before, and complained about
    return top if isinstance(top, Table) else None


def show(found: list[Value], *, origin: bool) -> str:
    """For people, one line each."""
    wide = max(len(value.name) for value in found)
    far = max(len(value.text) for value in found)
    rows = (
        f"{value.name:<{wide}}  {value.text:<{far}}  {value.origin}"
        if origin
        else f"{value.name:<{wide}}  {value.text}"
        for value in found
    )
    return "\n".join(row.rstrip() for row in rows)
