"""Every flag and environment variable of ngrokd, once. Pure data: nothing is opened, resolved or written here.

The command line is made from this table (`cli`), the server reads the result (`server`). A flag wins over its environment
variable, that over the default. Names and defaults of 1.7 are kept, but for two: `domain` is localhost, and the log begins
at INFO, because at DEBUG it names every visitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ngrokd.policy.addresses import AddressList
from protocol.address import HostPort, parse_listen
from protocol.errors import ConfigError, Fault
from protocol.link.logs import LEVELS, LogFormat
from protocol.names import normalize_host

MAX_GRACE = 3600.0
LOWEST_PORT, HIGHEST_PORT = 1024, 65535


class Flag(NamedTuple):
    """How a field appears on the command line. `env`: other names than NGROKD_<FIELD> under which it is read."""

    name: str
    help: str
    metavar: str = "ADDR"
    env: tuple[str, ...] = ()


class PortRange(NamedTuple):
    """Ports that tcp tunnels may have, both ends included."""

    first: int
    last: int

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


class PublicUrl(NamedTuple):
    """How visitors reach the http listener when it stands behind somebody else's proxy."""

    scheme: str
    host: str
    port: int


def listen(value: object) -> object:
    """`:80`, `80`, `127.0.0.1:80`, `[::1]:80`; "" is None (off). No host means every address, IPv6 and IPv4."""
    if not isinstance(value, str):
        return value
    try:
        return parse_listen(value) if value.strip() else None
    except Fault as fault:
        raise ValueError(f"{fault.message}, like :80 or 127.0.0.1:8080") from fault


def parse_ports(value: object) -> object:
    if not isinstance(value, str):
        return value
    first, dash, last = value.partition("-")
    if not (dash and first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise ValueError("must be a range like 2000-2999")
    found = PortRange(int(first), int(last))
    if found.last < found.first:
        raise ValueError("must have the lower port first, like 2000-2999")
    if not (found.first >= LOWEST_PORT and found.last <= HIGHEST_PORT):
        raise ValueError(f"must lie within {LOWEST_PORT}-{HIGHEST_PORT}")
    return found


def parse_public_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if (
        url.scheme not in ("http", "https")
        or not url.hostname
        or url.path not in ("", "/")
        or url.query
        or url.username
    ):
        raise ValueError("must be like https://example.me or https://example.me:8443")
    return PublicUrl(url.scheme, url.hostname.removeprefix("*."), port or (443 if url.scheme == "https" else 80))


def parse_networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return AddressList(part.strip() for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be addresses and networks with commas between, like 10.0.0.0/8,2001:db8::/32") from None


def empty_is_none(value: object) -> object:
    return None if value == "" else value


Address = Annotated[HostPort | None, BeforeValidator(listen)]
OptionalPath = Annotated[Path | None, BeforeValidator(empty_is_none)]


class Settings(BaseModel):
    """What the server is told. Frozen; unknown names are errors. Addresses are parsed, names not yet resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    http_addr: Annotated[Address, Flag("httpAddr", "public http listener; empty turns it off")] = HostPort("", 80)
    https_addr: Annotated[Address, Flag("httpsAddr", "public https listener; empty turns it off")] = HostPort("", 443)
    tunnel_addr: Annotated[Address, Flag("tunnelAddr", "listener for agents")] = HostPort("", 4443)
    domain: Annotated[str, Flag("domain", "names are given out below this domain", "NAME")] = "localhost"
    vhost: Annotated[
        str, Flag("vhost", "host and port to show in URLs instead of the domain and the real port", "HOST", ("VHOST",))
    ] = ""
    public_url: Annotated[
        Annotated[PublicUrl | None, BeforeValidator(parse_public_url)],
        Flag("publicUrl", "how visitors reach the http listener behind a proxy, like https://example.me", "URL"),
    ] = None
    tls_crt: Annotated[OptionalPath, Flag("tlsCrt", "certificate chain (PEM); needs -tlsKey", "FILE")] = None
    tls_key: Annotated[OptionalPath, Flag("tlsKey", "key of the certificate (PEM)", "FILE")] = None
    cert_dir: Annotated[
        OptionalPath, Flag("certDir", "directory of further pairs for https, chosen by the name asked for", "DIR")
    ] = None
    trusted_proxies: Annotated[
        Annotated[AddressList, BeforeValidator(parse_networks)],
        Flag(
            "trustedProxies", "addresses and networks whose forwarded headers and PROXY protocol are believed", "CIDRS"
        ),
    ] = AddressList(())
    tcp_proxies: Annotated[
        Annotated[AddressList, BeforeValidator(parse_networks)],
        Flag(
            "tcpProxies", "addresses and networks that put a PROXY protocol header before each visitor of a tcp tunnel",
            "CIDRS",
        ),
    ] = AddressList(())  # fmt: skip
    max_visitors: Annotated[
        int, Field(ge=0), Flag("maxVisitors", "visitors at a time; 0: by memory and descriptors", "N")
    ] = 0
    max_visitors_per_address: Annotated[
        int, Field(ge=0), Flag("maxVisitorsPerAddress", "visitors at a time from one address; 0: any number", "N")
    ] = 0
    visitor_rate: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Flag("visitorRate", "requests a second from one address; 0: any number", "N"),
    ] = 0.0
    max_body: Annotated[int, Field(ge=0), Flag("maxBody", "bytes of a request's body; 0: any number", "BYTES")] = 0
    open: Annotated[bool, Flag("open", "let agents in from anywhere without a token", "")] = False
    tcp_ports: Annotated[
        Annotated[PortRange, BeforeValidator(parse_ports)], Flag("tcpPorts", "ports that tcp tunnels may have", "A-B")
    ] = PortRange(LOWEST_PORT, HIGHEST_PORT)
    state_dir: Annotated[OptionalPath, Flag("stateDir", "where keys, certificates and names are kept", "DIR")] = None
    registry_cache_file: Annotated[
        OptionalPath,
        Flag("registryCacheFile", "file for random names that come back", "FILE", ("REGISTRY_CACHE_FILE",)),
    ] = None
    error_pages: Annotated[
        OptionalPath, Flag("errorPages", "directory with templates: page.html for all errors, CODE.html for one", "DIR")
    ] = None
    take_over: Annotated[
        bool, Flag("takeOver", "replace the ngrokd that runs with this state directory; nobody is cut off", "")
    ] = False
    config: Annotated[OptionalPath, Flag("config", "file with these flags as keys (YAML); flags win", "FILE")] = None
    grace: Annotated[
        float, Field(ge=0, le=MAX_GRACE), Flag("grace", "seconds that what runs may go on at a stop", "SECONDS")
    ] = 30.0
    admin_addr: Annotated[Address, Flag("adminAddr", "listener for the operator; off by default")] = None
    access_log: Annotated[
        str, Flag("accessLog", "file (or stdout) for a line of JSON about each exchange; off by default", "TARGET")
    ] = ""
    audit_log: Annotated[
        str,
        Flag("auditLog", "file for a line of JSON about each administrative change and refused login", "TARGET"),
    ] = ""
    log: Annotated[str, Flag("log", "stdout, none or a file", "TARGET")] = "stdout"
    log_level: Annotated[str, Flag("log-level", "DEBUG, INFO, WARNING or ERROR", "LEVEL")] = "INFO"
    log_format: Annotated[LogFormat, Flag("logFormat", "auto, console or json", "FORMAT")] = LogFormat.AUTO

    @model_validator(mode="after")
    def _pair(self) -> Settings:
        if (self.tls_crt is None) != (self.tls_key is None):
            missing, present = ("-tlsKey", "-tlsCrt") if self.tls_key is None else ("-tlsCrt", "-tlsKey")
            raise ValueError(
                f"{present} is given without {missing}: give both, or neither for ngrokd's own certificate"
            )
        return self

    @field_validator("domain")
    @classmethod
    def _domain(cls, value: str) -> str:
        try:
            normalize_host(value.strip())
        except Fault as fault:
            raise ValueError("must be a name like example.me; ports belong to -httpAddr and -httpsAddr") from fault
        return value.strip().removesuffix(".")

    @field_validator("tunnel_addr")
    @classmethod
    def _tunnel(cls, value: HostPort | None) -> HostPort:
        if value is None:
            raise ValueError("can't be turned off")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in LEVELS:
            raise ValueError(f"must be one of {', '.join(LEVELS)}")
        return value.upper()

    @field_validator("log")
    @classmethod
    def _log(cls, value: str) -> str:
        if not value:
            raise ValueError("must be stdout, none or a file")
        return value


def flags() -> dict[str, Flag]:
    """The flag of each field, in the order of the table."""
    return {
        name: item for name, field in Settings.model_fields.items() for item in field.metadata if isinstance(item, Flag)
    }


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings from texts (by field name). Raises ConfigError that names the flag; the text itself is not repeated."""
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        reason = _in_our_words(str(first["type"]), str(first["msg"]), first.get("ctx", {}))
        if first["loc"]:
            flag = flags().get(str(first["loc"][0]))
            reason = f"-{flag.name if flag else first['loc'][0]}: {reason}"
        raise ConfigError(reason, hint="see ngrokd -help") from error


def _in_our_words(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What pydantic found, as it is said everywhere else. `kind` and `context` are those of its error."""
    if kind == "greater_than_equal":
        return f"must be {context['ge']:g} or more"
    if kind == "less_than_equal":
        return f"must be {context['le']:g} or less"
    if kind.startswith("int_"):
        return "must be a whole number"
    if kind.startswith("float_") or kind == "finite_number":
        return "must be a number"
    if kind.startswith("bool_"):
        return "must be true or false"
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}".replace("'", "")
    return message.removeprefix("Value error, ")
