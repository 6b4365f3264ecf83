"""The `tunnels` table of a configuration file: from YAML nodes to TunnelSpecs. Knows the keys of a tunnel and nothing else.

As in 1.7 a tunnel with neither subdomain nor hostname is called after its key: a name with a dot is its hostname, another its
subdomain. Unlike 1.7, what it does not know or can't use is an error with a place.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import NoReturn, TypeVar

from ngrokc.options import ON_CONFLICT, HeaderEdits, TunnelOptions, header_edits, host_header, network
from ngrokc.tunnel_spec import PROTOCOLS, TunnelSpec, check_spec, split_protocols
from ngrokc.yaml_nodes import Item, Table, did_you_mean
from protocol.address import MAX_PORT, Upstream, parse_upstream
from protocol.errors import ConfigError, Fault
from protocol.secret import Secret

Value = TypeVar("Value")

KEYS = (
    "proto",
    "subdomain",
    "hostname",
    "auth",
    "remote_port",
    "inspect",
    "host_header",
    "allow_ips",
    "deny_ips",
    "request_headers",
    "response_headers",
    "redirect_https",
    "proxy_protocol",
    "verify",
    "compress",
    "on_conflict",
)
HINTS = MappingProxyType({
    "addr": "here the address belongs to its protocol, proto: {http: 8080}",
    "basic_auth": "here it is called auth",
    "domain": "here it is called hostname",
    "httpauth": "here it is called auth",
    "http_auth": "here it is called auth",
    "remoteport": "did you mean 'remote_port'?",
})  # fmt: skip
MAX_NETWORKS = 1000


def read_tunnels(item: Item | None, defaults: TunnelOptions) -> dict[str, TunnelSpec]:
    """All tunnels by name. Raises ConfigError at the first mistake."""
    if item is None:
        return {}
    table = item.table()
    specs: dict[str, TunnelSpec] = {}
    for name in table:
        if (
            not name
            or name.startswith("-")
            or any(not character.isprintable() or character.isspace() for character in name)
        ):
            table.key(name).fail("a tunnel needs a name that can be typed behind `start`")
        specs[name] = _tunnel(name, table.value(name, f'tunnel "{name}"'), defaults)
    _check_twice(table, specs)
    return specs


def _tunnel(name: str, item: Item, defaults: TunnelOptions) -> TunnelSpec:
    table = item.table()
    table.only(KEYS, hints=dict(HINTS))
    if table.get("compress") is not None and _get(table, "compress", Item.boolean, False):
        item.fail("compress can only be false", "bodies pass as the service sends them")
    options = _options(table, defaults)
    upstreams = _upstreams(item, table, options.verify)
    subdomain, hostname = _get(table, "subdomain", Item.text, ""), _get(table, "hostname", Item.text, "")
    if not subdomain and not hostname and ("http" in upstreams or "https" in upstreams):
        subdomain, hostname = ("", name) if "." in name else (name, "")
    spec = TunnelSpec(
        name,
        MappingProxyType(upstreams),
        subdomain=subdomain,
        hostname=hostname,
        remote_port=_get(table, "remote_port", lambda port: port.integer(0, MAX_PORT), 0),
        auth=Secret(_get(table, "auth", Item.text, "")),
        options=options,
    )
    _placed(item, lambda: check_spec(spec))
    return spec


def _upstreams(item: Item, table: Table, verify: bool) -> dict[str, Upstream | None]:
    proto = table.get("proto")
    if proto is None:
        item.fail("proto is missing", "for example proto: {http: 8080}")
    found: dict[str, Upstream | None] = {}
    parts = proto.table()
    for key in parts:
        try:
            names = split_protocols(key)
        except ConfigError as error:
            parts.key(key).fail(error.message, did_you_mean(key, PROTOCOLS) or error.hint)
        value = parts.value(key, f"{key} of {item.what}")
        for name in names:
            if name in found:
                parts.key(key).fail(f"{name} stands here twice")
            found[name] = _upstream(value, verify)
    if not found:
        item.fail("proto is empty", "for example proto: {http: 8080}")
    return {protocol: found[protocol] for protocol in PROTOCOLS if protocol in found}


def _upstream(item: Item, verify: bool) -> Upstream:
    return _placed(item, lambda: parse_upstream(item.text(), verify=verify))


def _options(table: Table, defaults: TunnelOptions) -> TunnelOptions:
    return TunnelOptions(
        host_header=_get(
            table, "host_header", lambda item: _placed(item, lambda: host_header(item.text())), "preserve"
        ),
        allow_ips=_get(table, "allow_ips", _networks, ()),
        deny_ips=_get(table, "deny_ips", _networks, ()),
        request_headers=_get(table, "request_headers", _edits, HeaderEdits()),
        response_headers=_get(table, "response_headers", _edits, HeaderEdits()),
        redirect_https=_get(table, "redirect_https", Item.boolean, False),
        on_conflict=_get(table, "on_conflict", lambda item: item.choice(ON_CONFLICT), defaults.on_conflict),
        proxy_protocol=_get(table, "proxy_protocol", _proxy_protocol, 0),
        inspect=_get(table, "inspect", Item.boolean, defaults.inspect),
        verify=_get(table, "verify", Item.boolean, defaults.verify),
    )


def _networks(item: Item) -> tuple[str, ...]:
    entries = item.items()
    if len(entries) > MAX_NETWORKS:
        item.fail(f"has more than {MAX_NETWORKS} entries")
    return tuple(_network(entry) for entry in entries)


def _network(entry: Item) -> str:
    return _placed(entry, lambda: network(entry.text()))


def _edits(item: Item) -> HeaderEdits:
    table = item.table()
    table.only(("add", "set", "remove"))
    remove = table.get("remove")
    names = [entry.text() for entry in remove.items()] if remove is not None else []
    return _placed(item, lambda: header_edits(_pairs(table.get("add")), _pairs(table.get("set")), names))


def _pairs(item: Item | None) -> dict[str, str]:
    if item is None:
        return {}
    table = item.table()
    return {name: table.value(name, name).text() for name in table}


def _proxy_protocol(item: Item) -> int:
    text = item.text().lower().removeprefix("v")
    if text not in ("1", "2"):
        item.fail("must be 1 or 2")
    return int(text)


def _get(table: Table, key: str, read: Callable[[Item], Value], default: Value) -> Value:
    item = table.get(key)
    return default if item is None else read(item)


def _placed(item: Item, make: Callable[[], Value]) -> Value:
    """Run something that raises a Fault without a place, and give it this item's."""
    try:
        return make()
    except Fault as fault:
        _fail(item, fault)


def _fail(item: Item, fault: Fault) -> NoReturn:
    item.fail(fault.message, fault.hint)


def _check_twice(table: Table, specs: dict[str, TunnelSpec]) -> None:
    """Two tunnels that ask for the same name or port: one of them would only ever be refused."""
    seen: dict[tuple[str, str], str] = {}
    for name, spec in specs.items():
        for protocol in spec.protocols:
            public = _public_name(spec, protocol)
            if public and (protocol, public) in seen:
                table.key(name).fail(
                    f"asks for the same {protocol} name as tunnel {seen[protocol, public]!r}: {public}"
                )
            if public:
                seen[protocol, public] = name


def _public_name(spec: TunnelSpec, protocol: str) -> str:
    if protocol == "tcp":
        return f"port {spec.remote_port}" if spec.remote_port else ""
    return (spec.hostname or spec.subdomain).strip().lower()
