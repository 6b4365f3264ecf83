"""A server as faithful to ngrokd 1.7 as a few lines allow, for tests of our agent.

Imitated: adoption of any ClientId and the wait for the old control's end, one ReqProxy at Auth and one for each visitor,
the pool of ten with 60 s deadlines, 30 s heartbeats, errors without ReqId, the port bug of `http+https`, routing by the
first head of a connection only, and EOF in one direction ending both. Not imitated: the body that Go buffers before it
routes, metrics. Times can be shortened; attributes make it misbehave while it runs.
"""

from __future__ import annotations

import base64
import secrets
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from tests.kit.go_wire import CLOSED, GoConn, GoError, Journal, Payload, Tricks, join

POOL = 10
ATTEMPTS = 2 * POOL
Handler = Callable[[trio.SocketStream], Awaitable[None]]
PublicStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass(frozen=True)
class ServerTimes:
    first_message: float = 10.0
    ping_limit: float = 30.0
    ping_check: float = 10.0
    proxy_wait: float = 30.0
    proxy_deadline: float = 60.0


@dataclass
class Tunnel:
    url: str
    control: Control
    auth: str = ""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass
class Proxy:
    """A registered proxy connection. The task that accepted it keeps it alive until `done`."""

    conn: GoConn
    deadline: float
    done: trio.Event = field(default_factory=trio.Event)

    async def close(self) -> None:
        await self.conn.close()
        self.done.set()


@dataclass
class Control:
    """One client."""

    client_id: str
    conn: GoConn
    scope: trio.CancelScope
    proxies: deque[Proxy] = field(default_factory=deque)
    arrived: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)
    tunnels: list[Tunnel] = field(default_factory=list)
    last_ping: float = 0.0

    def news(self) -> None:
        """Wake every visitor who waits for a proxy connection."""
        self.arrived.set()
        self.arrived = trio.Event()


class ClassicServer:
    """`server = await nursery.start(ClassicServer(context).serve)`; then `tunnel_port`, `http_port`, `https_port`."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        domain: str = "ngrok.me",
        vhost: str = "",
        https: bool = True,
        times: ServerTimes | None = None,
        tricks: Tricks | None = None,
    ) -> None:
        self.context = context
        self.domain = domain
        self.vhost = vhost
        self.https = https
        self.times = times or ServerTimes()
        self.tricks = tricks or Tricks()
        self.journal = Journal()
        self.controls: dict[str, Control] = {}
        self.tunnels: dict[str, Tunnel] = {}
        self.ports: dict[str, int] = {}
        self.affinity: dict[tuple[str, str], str] = {}
        # misbehaviour
        self.withhold_pong = False
        self.wrong_req_id = ""
        self.silent = False  # after the TLS handshake
        self.auth_error = ""
        self.payload_with_start = b""  # in the same record as the body of StartProxy

    @property
    def tunnel_port(self) -> int:
        return self.ports["tunnel"]

    @property
    def http_port(self) -> int:
        return self.ports["http"]

    @property
    def https_port(self) -> int:
        return self.ports["https"]

    async def serve(self, *, task_status: trio.TaskStatus[ClassicServer] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._listen("tunnel", self._tunnel_conn)
            await self._listen("http", partial(self._public, "http"))
            if self.https:
                await self._listen("https", partial(self._public, "https"))
            task_status.started(self)

    async def _listen(self, name: str, handler: Handler) -> None:
        async def guarded(stream: trio.SocketStream) -> None:
            try:
                await handler(stream)
            except (GoError, *CLOSED) as error:
                self.journal.add(name, "failed", {"error": str(error)})
            finally:
                await trio.aclose_forcefully(stream)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.ports[name] = listener.socket.getsockname()[1]
        self._nursery.start_soon(trio.serve_listeners, guarded, [listener])

    # -- the tunnel port
    async def _tunnel_conn(self, plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, self.context, server_side=True)
        conn = GoConn(stream, self.tricks, self.journal)
        with trio.move_on_after(self.times.first_message) as scope:
            await stream.do_handshake()
            if self.silent:
                await trio.sleep_forever()
            kind, message = await conn.read_msg()
            if kind == "Auth":
                scope.deadline = float("inf")
                await self._authorise(conn, message)
            elif kind == "RegProxy":
                scope.deadline = float("inf")
                await self._park(conn, message)
            else:
                await conn.close()

    async def _authorise(self, conn: GoConn, auth: Payload) -> None:
        error = self.auth_error
        if auth["Version"] != "2":
            error = f"Incompatible versions. Server 1.7, client {auth['Version']}."
        if error:
            await conn.send_msg("AuthResp", {"Error": error})
            await conn.close()
            return
        client_id = str(auth["ClientId"]) or secrets.token_hex(16)
        if (old := self.controls.get(client_id)) is not None:
            old.scope.cancel()
            await old.gone.wait()
        with trio.CancelScope() as scope:
            control = Control(client_id, conn, scope, last_ping=trio.current_time())
            self.controls[client_id] = control
            try:
                await self._control(control)
            finally:
                with trio.CancelScope(shield=True):
                    await self._tear_down(control)

    async def _control(self, control: Control) -> None:
        answer: Payload = {"Version": "2", "MmVersion": "1.7", "ClientId": control.client_id}
        await control.conn.send_msg("AuthResp", answer)
        await control.conn.send_msg("ReqProxy", {})
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_heartbeat, control)
                while True:
                    kind, message = await control.conn.read_msg()
                    if kind == "Ping":
                        control.last_ping = trio.current_time()
                        if not self.withhold_pong:
                            await control.conn.send_msg("Pong", {})
                    elif kind == "ReqTunnel":
                        await self._register(control, message)
        except* (GoError, *CLOSED) as group:
            self.journal.add("control", "failed", {"error": str(group.exceptions[0])})

    async def _watch_heartbeat(self, control: Control) -> None:
        while trio.current_time() - control.last_ping <= self.times.ping_limit:
            await trio.sleep(self.times.ping_check)
        self.journal.add("control", "lost heartbeat")
        control.scope.cancel()

    async def _tear_down(self, control: Control) -> None:
        for tunnel in control.tunnels:
            tunnel.scope.cancel()
            self.tunnels.pop(tunnel.url, None)
        if self.controls.get(control.client_id) is control:
            del self.controls[control.client_id]
        await control.conn.close()
        while control.proxies:
            await control.proxies.popleft().close()
        self.journal.add("control", "gone")
        control.gone.set()  # only now may a successor answer its Auth
        control.news()

    async def _park(self, conn: GoConn, message: Payload) -> None:
        control = self.controls.get(str(message["ClientId"]))
        if control is None or len(control.proxies) >= POOL:
            self.journal.add("proxy", "surplus" if control else "unknown")
            await conn.close()
            return
        proxy = Proxy(conn, trio.current_time() + self.times.proxy_deadline)
        control.proxies.append(proxy)
        self.journal.add("proxy", "parked")
        control.news()
        await proxy.done.wait()

    # -- tunnels
    async def _register(self, control: Control, wish: Payload) -> None:
        for protocol in str(wish["Protocol"]).split("+"):
            try:
                tunnel = await self._open(control, protocol, wish)
            except GoError as error:
                await control.conn.send_msg("NewTunnel", {"Error": str(error)})
                if not control.tunnels:
                    control.scope.cancel()
                return
            control.tunnels.append(tunnel)
            req_id = self.wrong_req_id or wish["ReqId"]
            await control.conn.send_msg("NewTunnel", {"Url": tunnel.url, "Protocol": protocol, "ReqId": req_id})
            # The bug of 1.7: the next protocol inherits this one's host with its port.
            wish["Hostname"] = tunnel.url.partition("://")[2]

    async def _open(self, control: Control, protocol: str, wish: Payload) -> Tunnel:
        if protocol == "tcp":
            return await self._open_tcp(control, str(wish["ReqId"]), int(str(wish["RemotePort"])))
        if protocol not in self.ports or protocol == "tunnel":
            raise GoError(f"Protocol {protocol} is not supported")
        suffix = (self.vhost or f"{self.domain}:{self.ports[protocol]}").lower()
        suffix = suffix.removesuffix(":80" if protocol == "http" else ":443")
        hostname, subdomain = str(wish["Hostname"]).strip().lower(), str(wish["Subdomain"]).strip().lower()
        slot = (control.client_id, protocol)
        if hostname:
            url = f"{protocol}://{hostname}"
        elif subdomain:
            url = f"{protocol}://{subdomain}.{suffix}"
        else:
            url = self.affinity.get(slot, "")
            if not url or url in self.tunnels:
                url = f"{protocol}://{secrets.randbits(31):x}.{suffix}"
            self.affinity[slot] = url
        if url in self.tunnels:
            raise GoError(f"The tunnel {url} is already registered.")
        tunnel = self.tunnels[url] = Tunnel(url, control)
        if wish["HttpAuth"]:
            tunnel.auth = "Basic " + base64.b64encode(str(wish["HttpAuth"]).encode()).decode()
        return tunnel

    async def _open_tcp(self, control: Control, req_id: str, port: int) -> Tunnel:
        slot = (control.client_id, "tcp")
        wanted = [port] if port else [int(self.affinity.get(slot, "0")), 0]
        for candidate in wanted:
            try:
                (listener,) = await trio.open_tcp_listeners(candidate, host="127.0.0.1")
            except OSError as error:
                refusal = error
                continue
            bound = listener.socket.getsockname()[1]
            self.affinity[slot] = str(bound)
            tunnel = Tunnel(f"tcp://{self.domain}:{bound}", control)
            self.tunnels[tunnel.url] = tunnel
            self._nursery.start_soon(self._serve_tcp, tunnel, listener)
            return tunnel
        raise GoError(f"Error binding TCP listener for {req_id}: {refusal}")

    async def _serve_tcp(self, tunnel: Tunnel, listener: trio.SocketListener) -> None:
        async def visitor(stream: trio.SocketStream) -> None:
            try:
                await self._proxy(tunnel, stream, b"")
            except CLOSED:
                pass
            finally:
                await trio.aclose_forcefully(stream)

        with tunnel.scope:  # only listening ends with the tunnel; visitors stay
            await trio.serve_listeners(visitor, [listener], handler_nursery=self._nursery)

    # -- visitors
    async def _public(self, scheme: str, plain: trio.SocketStream) -> None:
        stream: PublicStream = plain
        if scheme == "https":
            stream = trio.SSLStream(plain, self.context, server_side=True)
        head = b""
        with trio.move_on_after(self.times.first_message) as scope:
            while b"\r\n\r\n" not in head:
                more = await stream.receive_some(4096)
                if not more:
                    break
                head += more
        lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]]
        fields = {name.strip().lower(): value.strip() for name, _, value in lines}
        if scope.cancelled_caught or b"\r\n\r\n" not in head:
            await stream.send_all(b"HTTP/1.0 400 Bad Request\nContent-Length: 12\n\nBad Request\n")
            return
        host = fields.get("host", "").lower()
        tunnel = self.tunnels.get(f"{scheme}://{host}")
        if tunnel is None:
            page = f"Tunnel {host} not found\n".encode()
            await stream.send_all(b"HTTP/1.0 404 Not Found\nContent-Length: %d\n\n%s" % (len(page), page))
        elif tunnel.auth and fields.get("authorization", "") != tunnel.auth:
            realm = b'WWW-Authenticate: Basic realm="ngrok"\nContent-Length: 23'
            await stream.send_all(b"HTTP/1.0 401 Not Authorized\n%s\n\nAuthorization required\n" % realm)
        else:
            await self._proxy(tunnel, stream, head)

    async def _proxy(self, tunnel: Tunnel, visitor: PublicStream, early: bytes) -> None:
        """Find a proxy connection for a visitor and copy until one side ends."""
        plain = visitor if isinstance(visitor, trio.SocketStream) else visitor.transport_stream
        assert isinstance(plain, trio.SocketStream)
        host, port = plain.socket.getpeername()[:2]
        start: Payload = {"Url": tunnel.url, "ClientAddr": f"{host}:{port}"}
        for _ in range(ATTEMPTS):
            proxy = await self._take(tunnel.control)
            if proxy is None:
                return
            try:
                if trio.current_time() > proxy.deadline:
                    raise GoError("i/o timeout")
                await proxy.conn.send_msg("StartProxy", start, then=self.payload_with_start)
                break
            except (GoError, *CLOSED):
                self.journal.add("proxy", "stale")
                await proxy.close()
        else:
            return
        try:
            await self._ask_for_proxy(tunnel.control)
            if early:
                await proxy.conn.stream.send_all(early)
            self.journal.add("visitor", "joined", start)
            await join(visitor, proxy.conn.stream)
            self.journal.add("visitor", "parted", start)
        finally:
            proxy.done.set()

    async def _take(self, control: Control) -> Proxy | None:
        if not control.proxies:
            await self._ask_for_proxy(control)
            with trio.move_on_after(self.times.proxy_wait):
                while not control.proxies and not control.gone.is_set():
                    await control.arrived.wait()
        return control.proxies.popleft() if control.proxies else None

    async def _ask_for_proxy(self, control: Control) -> None:
        if not control.gone.is_set():
            try:
                await control.conn.send_msg("ReqProxy", {})
            except CLOSED:
                self.journal.add("control", "unwritable")
