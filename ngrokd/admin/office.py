"""Puts the operator's view together for `server`: counters and audit before anything is served, the rest once it runs.

`Office` is made first, as the edge and the gate need its counters. `open` gives it the running server, `run` keeps it up to
date, `serve` puts the page and API on a socket. Owns the access log, the audit log and the token's file, not the server.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Final

import trio

from ngrokd.admin.access_log import AccessLog
from ngrokd.admin.audit import FLAG as AUDIT_FLAG
from ngrokd.admin.audit import Audit
from ngrokd.admin.bans import Bans
from ngrokd.admin.books import Books
from ngrokd.admin.doorman import Doorman
from ngrokd.admin.house import House
from ngrokd.admin.meters import Meters
from ngrokd.admin.operator import Levers, Operator
from ngrokd.admin.watchdog import Watchdog
from ngrokd.edge.visitor import VisitorConnection
from ngrokd.gate import Gate
from ngrokd.json_lines import JsonLines
from ngrokd.notify import Notifier
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory
from protocol.address import HostPort, plain_ip
from protocol.errors import ConfigError
from protocol.link.logs import Log
from protocol.link.reactor import Reactor
from protocol.link.trust import is_loopback
from protocol.websafe import allowed_hosts

ADMIN_LISTENER: Final = "admin"


class Office:
    """See the module. `access_log`, `audit_log`: a path, `stdout` or "" for none; raises ConfigError when one can't be
    opened."""

    def __init__(self, reactor: Reactor, log: Log, access_log: str = "", audit_log: str = "") -> None:
        self.log = log
        self.meters = Meters(lambda: reactor.now)
        self.audit = Audit(log, trio.current_time)
        self.bans = Bans()
        self.access: AccessLog | None = None
        self.operator: Operator | None = None
        self._reactor = reactor
        self._lost = 0
        self._use_access_log(access_log)
        self._use_audit_log(audit_log)

    def use(self, settings: Settings) -> None:
        """Other files for the access and the audit log, or none. What can't be opened after all is said in the log and
        changes nothing."""
        for change in (
            partial(self._use_access_log, settings.access_log),
            partial(self._use_audit_log, settings.audit_log),
        ):
            try:
                change()
            except ConfigError as error:
                self.log.error("a log is not changed", reason=error.message)

    def reopen(self) -> None:
        """The files may have been moved away: use those that have their names now. Returns at once."""
        for lines in self._files():
            lines.reopen()

    @property
    def dropped(self) -> int:
        """Lines that these logs have lost."""
        return self._lost + sum(lines.dropped for lines in self._files())

    def _files(self) -> list[JsonLines]:
        access = self.access.lines if self.access is not None else None
        return [lines for lines in (access, self.audit.file) if lines is not None]

    def _use_access_log(self, target: str) -> None:
        before = self.access
        if target != (before.lines.target if before is not None else ""):
            self.access = AccessLog(target, lambda: self._reactor.now) if target else None
            self.meters.also = self.access.exchange if self.access is not None else None
            self._end(before.lines if before is not None else None)

    def _use_audit_log(self, target: str) -> None:
        before = self.audit.file
        if target != (before.target if before is not None else ""):
            self.audit.file = JsonLines(target, AUDIT_FLAG) if target else None
            self._end(before)

    def _end(self, lines: JsonLines | None) -> None:
        if lines is not None:
            lines.end()
            self._lost += lines.dropped

    async def aclose(self) -> None:
        """Write what is queued and let the files go; two seconds for each at most. After all visitors and agents."""
        with trio.CancelScope(shield=True):
            for lines in self._files():
                await trio.to_thread.run_sync(lines.close)

    def doorman(self, gate: Gate) -> Doorman:
        """The gate to ask instead of `gate`: with bans, and every refusal in the audit log."""
        return Doorman(gate, self.bans, self.meters, self.audit, trio.current_time)

    def refused(self, visitor: VisitorConnection, code: str, detail: str) -> None:
        """For the edges: a request got an error page."""
        if self.access is not None:
            self.access.refused(visitor, code, detail)

    def open(self, house: House, levers: Levers, books: Books | None) -> Operator:
        """The server is there to be looked at."""
        self.operator = Operator(house, self.meters, self.audit, levers, books, self.bans)
        return self.operator

    async def run(self, notifier: Notifier | None = None) -> None:
        """Keep rates and watch the loop, until cancelled. `notifier` hears of a live loop."""
        assert self.operator is not None
        watchdog = Watchdog(self.meters, self.log, alive=notifier.alive if notifier and notifier.watchdog else None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.operator.watch)
            nursery.start_soon(watchdog.run)

    async def serve(
        self,
        sock: socket.socket,
        state: StateDirectory,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """The page and the API on `sock` (owned from now on), until cancelled. Raises ConfigError, OSError."""
        from ngrokd.admin import api, entry, web  # a third of a second, for those who asked for it

        assert self.operator is not None
        host, port = sock.getsockname()[:2]
        hosts = allowed_hosts(plain_ip(host), port)
        token = await trio.to_thread.run_sync(entry.load_token, state)
        audit = self.audit
        app = api.build_app(
            self.operator, self.log, lambda inner: entry.Entry(inner, token, hosts, audit, trio.current_time)
        )
        self.log.info("the operator's page is up", address=f"{host}:{port}", token=str(state.file(entry.TOKEN_FILE)))
        async with trio.open_nursery() as nursery:
            await nursery.start(web.serve, app, sock)
            task_status.started()


def check_address(address: HostPort) -> None:
    """The operator's page speaks plain HTTP, so it stays on this machine. Raises ConfigError."""
    if address.host != "localhost" and not is_loopback(address.host):
        raise ConfigError(
            "-adminAddr: the operator's page listens on loopback only",
            hint="give -adminAddr 127.0.0.1:4041, and reach it from elsewhere with: ssh -L 4041:127.0.0.1:4041 SERVER",
        )
