"""Links through an HTTP proxy: which proxy, and the CONNECT request (RFC 9110 section 9.3.6). Knows nothing of tunnels.

The proxy sees the server's name and nothing inside TLS. Its answers are untrusted: parsed by h11, never shown raw.
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

import h11
import trio

from protocol.errors import Blame, ConfigError, LinkError
from protocol.link.port import Port
from protocol.link.trust import is_loopback
from protocol.secret import Secret

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A proxy: `tls` when it is itself spoken to over TLS; `authorization` is the value of Proxy-Authorization."""

    host: str
    port: int
    tls: bool = False
    authorization: Secret | None = None

    def __str__(self) -> str:
        """For people: never with the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_proxy(text: str) -> ProxyUrl:
    """`http://user:p%40ss@proxy.local:3128`; the port may be missing, the scheme not. Credentials are percent-decoded.
    Raises ConfigError, without the credentials in its text."""
    hint = "for example http://proxy.example:3128"
    try:
        url = urlsplit(text.strip())
        port = url.port
    except ValueError:
        raise ConfigError("the proxy is no URL or has a bad port", hint=hint) from None
    if url.scheme not in DEFAULT_PORTS:
        raise ConfigError("the proxy must be an http:// or https:// URL", hint=hint)
    if not url.hostname or url.path not in ("", "/") or url.query or url.fragment or port == 0:
        raise ConfigError("the proxy must be host and port, nothing else", hint=hint)
    return ProxyUrl(url.hostname, port or DEFAULT_PORTS[url.scheme], url.scheme == "https", _authorization(url))


def _authorization(url: SplitResult) -> Secret | None:
    if url.username is None:
        return None
    credentials = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return Secret("Basic " + b64encode(credentials.encode()).decode())


def proxy_from_environment(environ: Mapping[str, str], host: str, port: int) -> ProxyUrl | None:
    """The proxy that `https_proxy` or `http_proxy` (1.7's) name for a link to host:port, unless `no_proxy` excludes it.
    Lower case goes before upper case; this machine is never reached through a proxy. Raises ConfigError."""
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        value = environ.get(name, "").strip()
        if not value:
            continue
        if host == "localhost" or is_loopback(host) or _excluded(environ, host, port):
            return None
        try:
            return parse_proxy(value if "://" in value else f"http://{value}")
        except ConfigError as error:
            raise ConfigError(f"the environment variable {name}: {error.message}", hint=error.hint) from error
    return None


def _excluded(environ: Mapping[str, str], host: str, port: int) -> bool:
    """`no_proxy`: a comma list of `*`, names (with their subdomains), addresses and networks, each with an optional port."""
    entries = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_matches(entry.strip().lower(), host.lower().rstrip("."), port) for entry in entries.split(","))


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if not entry:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except (ValueError, TypeError):
        pass  # one of the two is a name
    name = entry.removeprefix("*").removeprefix(".")
    return host == name or host.endswith("." + name)


async def connect_through(port: Port, proxy: ProxyUrl, host: str, server_port: int) -> None:
    """Ask the proxy at the other end of `port` (task-owned) for a link to host:server_port. When it returns, the port's
    bytes are the server's. Raises LinkError; the caller closes the port then."""
    target = f"[{host}]:{server_port}" if ":" in host else f"{host}:{server_port}"
    headers = [("Host", target), ("User-Agent", "ngrokc")]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization.reveal()))
    machine = h11.Connection(h11.CLIENT)
    request = machine.send(h11.Request(method="CONNECT", target=target, headers=headers))
    stream = port.stream()
    try:
        await stream.send_all(request or b"")
        status = await _status(machine, stream)
        early, _ended = machine.trailing_data
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise LinkError("proxy_lost", f"the proxy {proxy} closed the connection", blame=Blame.OPERATOR) from error
    except h11.ProtocolError as error:
        raise LinkError("proxy_answer", f"the proxy {proxy} did not answer in HTTP", blame=Blame.OPERATOR) from error
    if status == 407:
        hint = "write user:password@ in front of the proxy's host; % and @ in them as %25 and %40"
        raise LinkError(
            "proxy_auth", f"the proxy {proxy} wants other credentials (407)", blame=Blame.OPERATOR, hint=hint
        )
    if not 200 <= status < 300:
        raise LinkError(
            "proxy_refused", f"the proxy {proxy} refused a link to {target} ({status})", blame=Blame.OPERATOR
        )
    if early:  # a TLS server waits for the client: these bytes are nobody's
        raise LinkError("proxy_answer", f"the proxy {proxy} sent bytes of its own into the link", blame=Blame.OPERATOR)
    stream.detach()


async def _status(machine: h11.Connection, stream: trio.abc.ReceiveStream) -> int:
    while True:
        event = machine.next_event()
        if event is h11.NEED_DATA:
            machine.receive_data(bytes(await stream.receive_some(4096)))
        elif isinstance(event, h11.Response):
            return event.status_code
        elif isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("closed before an answer")
