"""The agent's configuration: one frozen value, from a file of ngrok 1.7's format with keys of ours beside its own.

Pure but for `load`, which reads the file. It prints nothing, connects to nothing and knows no flag: `cli` lays flags and
environment over what it finds here. Every mistake raises ConfigError with its place and, where there is one, a remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ngrokc.options import ON_CONFLICT, TunnelOptions
from ngrokc.token_file import old_format_token
from ngrokc.tunnel_nodes import read_tunnels
from ngrokc.tunnel_spec import TunnelSpec
from ngrokc.yaml_nodes import MAX_FILE, Item, Table, parse
from protocol.address import HostPort, parse_address
from protocol.errors import ConfigError, Fault
from protocol.link.files import read_capped
from protocol.link.proxy_connect import parse_proxy
from protocol.link.trust import parse_pin
from protocol.secret import Secret

SERVER_PORT = 4443  # where ngrokd listens unless it was told otherwise
INSPECT = HostPort("127.0.0.1", 4040)
DISABLED = "disabled"
KEYS = (
    "server_addr",
    "inspect_addr",
    "inspect_api",
    "http_proxy",
    "trust_host_root_certs",
    "auth_token",
    "tunnels",
    "on_conflict",
    "mux",
    "ca",
    "pin",
)
HINTS = MappingProxyType({
    "web_addr": "here it is called inspect_addr",
    "authtoken": "did you mean 'auth_token'?",
    "server": "did you mean 'server_addr'?",
    "root_cas": "here it is called ca",
    "region": "there are no regions: server_addr names the server",
    "version": "this is the format of ngrok 1.x, which has no version key",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a file says, checked. `server` is None when no address was given; `inspect_addr` None: disabled.
    `proxy` is the URL as written, "" for none. `path` is where the token is kept, None for nowhere."""

    server: HostPort | None = None
    token: Secret = field(default_factory=lambda: Secret(""))
    inspect_addr: HostPort | None = INSPECT
    inspect_open: bool = False
    proxy: Secret = field(default_factory=lambda: Secret(""))
    ca: str = ""
    pin: str = ""
    mux: bool = True
    tunnels: Mapping[str, TunnelSpec] = field(default_factory=lambda: MappingProxyType({}))
    path: Path | None = None
    old_format: bool = False
    """The file holds nothing but a token, as the oldest clients wrote it."""
    options: TunnelOptions = field(default_factory=TunnelOptions)
    """What tunnels have that say nothing else; the one of the command line too."""


def load(path: Path, *, required: bool) -> Config:
    """The configuration in the file at `path`. One that is missing is an empty one, unless it is `required`. Raises
    ConfigError."""
    try:
        raw = read_capped(path, MAX_FILE)
    except ValueError:
        raise ConfigError(
            f"larger than {MAX_FILE >> 20} MiB", hint="is this the configuration?", file=str(path)
        ) from None
    except OSError as error:
        if not required and not isinstance(error, PermissionError):
            return Config(path=path)
        raise ConfigError(f"can't be read: {error.strerror}", file=str(path)) from error
    if raw is None:
        if required:
            raise ConfigError("there is no such file", hint="name another with -config", file=str(path))
        return Config(path=path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("this line is not UTF-8", file=str(path), line=line) from None
    return read(text, str(path), path=path)


def read(text: str, file: str, *, path: Path | None = None) -> Config:
    """The configuration in `text`; `file` is its name in errors, and CA files are found beside it. Raises ConfigError."""
    token = old_format_token(text)
    if token is not None:
        return Config(token=Secret(token), path=path, old_format=True)
    top = parse(text, file)
    if isinstance(top, str):
        raise ConfigError("the file holds one word and no keys", hint="write key: value lines", file=file, line=1)
    top.only(KEYS, hints=dict(HINTS))
    options = TunnelOptions(on_conflict=_choice(top, "on_conflict", ON_CONFLICT, "fail"))
    _boolean(
        top, "trust_host_root_certs", False
    )  # always so here; checked, since a wrong value is a mistake all the same
    return Config(
        server=_server(top.get("server_addr")),
        token=Secret(_text(top, "auth_token")),
        inspect_addr=_inspect(top.get("inspect_addr")),
        inspect_open=_choice(top, "inspect_api", ("token", "open"), "token") == "open",
        proxy=_proxy(top.get("http_proxy")),
        ca=_beside(_text(top, "ca"), path),
        pin=_pin(top.get("pin")),
        mux=_boolean(top, "mux", True),
        tunnels=MappingProxyType(read_tunnels(top.get("tunnels"), options)),
        path=path,
        options=options,
    )


def server_address(text: str) -> HostPort:
    """A server address as written in the file or behind -server; the port may be missing. Raises Fault."""
    return parse_address(text, port=SERVER_PORT)


def inspect_address(text: str) -> HostPort | None:
    """Where the inspector listens, or None for `disabled`. Raises Fault."""
    return None if text == DISABLED else parse_address(text, zero=True)


def _server(item: Item | None) -> HostPort | None:
    if item is None or not item.text():
        return None
    try:
        return server_address(item.text())
    except Fault as fault:
        item.fail(fault.message, fault.hint)


def _inspect(item: Item | None) -> HostPort | None:
    if item is None or not item.text():
        return INSPECT
    try:
        return inspect_address(item.text())
    except Fault as fault:
        item.fail(fault.message, fault.hint or f"write host:port, or {DISABLED}")


def _proxy(item: Item | None) -> Secret:
    if item is None or not item.text():
        return Secret("")
    try:
        parse_proxy(item.text())
    except Fault as fault:
        item.fail(fault.message, fault.hint)
    return Secret(item.text())


def _pin(item: Item | None) -> str:
    if item is None or not item.text():
        return ""
    try:
        return parse_pin(item.text())
    except Fault as fault:
        item.fail(fault.message, fault.hint)


def _beside(name: str, path: Path | None) -> str:
    """A file that the configuration names, relative to the configuration."""
    if not name:
        return ""
    expanded = Path(name).expanduser()
    return str(path.parent / expanded) if path is not None else str(expanded)


def _text(top: Table, key: str) -> str:
    item = top.get(key)
    return item.text() if item is not None else ""


def _boolean(top: Table, key: str, default: bool) -> bool:
    item = top.get(key)
    return item.boolean() if item is not None else default


def _choice(top: Table, key: str, known: tuple[str, ...], default: str) -> str:
    item = top.get(key)
    return item.choice(known) if item is not None else default
