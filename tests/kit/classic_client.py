"""A client as faithful to ngrok 1.7 as a few lines allow, for tests of our server.

It exits at the first refusal, reconnects with 1, 2, 4 ... 30 s, pings every 20 s, and believes any first frame to be the
AuthResp. Times can be shortened; `client.` attributes make it misbehave while it runs. Not imitated: the inspector (which
freezes on 1xx), the terminal, http proxies.
"""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass

import trio

from tests.kit.go_wire import CLOSED, GoConn, GoError, Journal, Tricks, connect, join

BAD_GATEWAY = b"HTTP/1.0 502 Bad Gateway\nContent-Type: text/html\nContent-Length: 27\n\n<html>Tunnel is dead</html>"


@dataclass(frozen=True)
class Wish:
    """One tunnel of the config: protocols in the order in which they are asked for, and where the private service is."""

    local: tuple[str, int]
    protocol: str = "http"
    subdomain: str = ""
    hostname: str = ""
    http_auth: str = ""
    remote_port: int = 0


@dataclass(frozen=True)
class ClientTimes:
    ping_every: float = 20.0
    pong_within: float = 15.0
    first_wait: float = 1.0
    longest_wait: float = 30.0


class Exited(Exception):
    """Where 1.7 prints a message and ends with status 0."""


class ClassicClient:
    """`nursery.start_soon(client.run)`; then look at `journal`, `urls`, `client_id`, `said`."""

    def __init__(
        self,
        server: tuple[str, int],
        context: ssl.SSLContext,
        *wishes: Wish,
        token: str = "",
        times: ClientTimes | None = None,
        tricks: Tricks | None = None,
    ) -> None:
        self.server = server
        self.context = context
        self.wishes = wishes
        self.token = token
        self.times = times or ClientTimes()
        self.tricks = tricks or Tricks()
        self.journal = Journal()
        self.client_id = ""
        self.version = "2"
        self.urls: dict[str, Wish] = {}
        self.said: str | None = None  # the last words of a client that has exited
        self.waits: list[float] = []
        # misbehaviour
        self.withhold_ping = False
        self.ignore_req_proxy = False
        self.control: GoConn | None = None
        self._last_pong = 0.0

    async def run(self) -> None:
        """Until it exits by itself or is cancelled. Proxied connections outlive their control connection."""
        async with trio.open_nursery() as proxies:
            wait = self.times.first_wait
            while True:
                online = self.journal.count("client", "online")
                try:
                    await self._control(proxies)
                except Exited as exited:
                    self.said = str(exited)
                    self.journal.add("client", "exit")
                    proxies.cancel_scope.cancel()
                    return
                except (GoError, *CLOSED) as error:
                    self.journal.add("client", "lost", {"error": str(error)})
                if self.journal.count("client", "online") > online:
                    wait = self.times.first_wait
                self.waits.append(wait)
                await trio.sleep(wait)
                wait = min(2 * wait, self.times.longest_wait)

    async def _control(self, proxies: trio.Nursery) -> None:
        conn = await connect(self.server, self.context, self.tricks, self.journal)
        failed: Exception = GoError("no pong")  # raised below: CPython 3.11.2 wraps what `except*` raises in a group
        try:
            asked = await self._start(conn)
            self.control = conn
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heartbeat, conn, nursery.cancel_scope)
                await self._listen(conn, asked, proxies)
        except* Exited as group:
            failed = Exited(str(group.exceptions[0]))
        except* (GoError, *CLOSED) as group:
            failed = GoError(str(group.exceptions[0]))
        finally:
            self.control = None
            await conn.close()
        raise failed

    async def _start(self, conn: GoConn) -> dict[str, Wish]:
        auth: dict[str, object] = {"Version": self.version, "MmVersion": "1.7", "User": self.token, "OS": "linux"}
        await conn.send_msg("Auth", {**auth, "Arch": "amd64", "ClientId": self.client_id})
        _, answer = await conn.read_msg(into="AuthResp")
        if answer["Error"]:
            raise Exited(str(answer["Error"]))
        self.client_id = str(answer["ClientId"])
        asked = {}
        for wish in random.sample(self.wishes, len(self.wishes)):  # Go's maps have no order
            asked[f"{random.getrandbits(64):016x}"] = wish
        for req_id, wish in asked.items():
            request: dict[str, object] = {"ReqId": req_id, "Protocol": wish.protocol, "Hostname": wish.hostname}
            request.update(Subdomain=wish.subdomain, HttpAuth=wish.http_auth, RemotePort=wish.remote_port)
            await conn.send_msg("ReqTunnel", request)
        return asked

    async def _listen(self, conn: GoConn, asked: dict[str, Wish], proxies: trio.Nursery) -> None:
        while True:
            kind, message = await conn.read_msg()
            if kind == "ReqProxy" and not self.ignore_req_proxy:
                proxies.start_soon(self._proxy)
            elif kind == "Pong":
                self._last_pong = trio.current_time()
            elif kind == "NewTunnel":
                if message["Error"]:
                    raise Exited(f"Server failed to allocate tunnel: {message['Error']}")
                if message["ReqId"] not in asked:
                    raise GoError("nil pointer dereference")
                self.urls[str(message["Url"])] = asked[str(message["ReqId"])]
                self.journal.add("client", "online", message)

    async def _heartbeat(self, conn: GoConn, scope: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self.times.ping_every)
                if not self.withhold_ping:
                    try:
                        await conn.send_msg("Ping", {})
                    except CLOSED:
                        return  # the reader learns it too
                    nursery.start_soon(self._await_pong, trio.current_time(), scope)

    async def _await_pong(self, asked_at: float, scope: trio.CancelScope) -> None:
        await trio.sleep(self.times.pong_within)
        if self._last_pong < asked_at:
            self.journal.add("client", "no pong")
            scope.cancel()

    async def _proxy(self) -> None:
        """One proxy connection: parked without any time limit until StartProxy comes."""
        try:
            conn = await connect(self.server, self.context, self.tricks, self.journal)
        except CLOSED as error:
            self.journal.add("proxy", "undialled", {"error": str(error)})
            return
        try:
            await conn.send_msg("RegProxy", {"ClientId": self.client_id})
            _, start = await conn.read_msg(into="StartProxy")
            wish = self.urls.get(str(start["Url"]))
            if wish is None:
                raise GoError("couldn't find tunnel for proxy")
            await self._serve(conn, wish)
        except (GoError, *CLOSED) as error:
            self.journal.add("proxy", "ended", {"error": str(error)})
        finally:
            await conn.close()

    async def _serve(self, conn: GoConn, wish: Wish) -> None:
        try:
            local = await trio.open_tcp_stream(*wish.local)
        except OSError:
            if "http" in wish.protocol:
                await conn.stream.send_all(BAD_GATEWAY)
            return
        self.journal.add("proxy", "joined")
        await join(conn.stream, local)
        self.journal.add("proxy", "parted")
