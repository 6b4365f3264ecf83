"""`ngrokc check`: each step between here and a public URL, with its time and, where it fails, what to do.

The steps: configuration, name of the server, reaching it, TLS, token and version, and the private services. A login is made
and ended again without asking for a tunnel. What comes after a failed step is not tried. Prints nothing: findings come out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import trio

from ngrokc.agent import AgentSettings, new_reactor, pin_of
from ngrokc.events import EventBus
from ngrokc.identity import Identity
from ngrokc.legs import LiveLegs
from ngrokc.plan import Plan
from ngrokc.proxy import Visitors
from ngrokc.session import Login, Shared, log_in, product_of
from ngrokc.tunnels import TunnelBook
from protocol.address import Upstream
from protocol.errors import Fault, LinkError, RefusedError
from protocol.link.dial import ServerDialer, dial_tcp, dial_upstream
from protocol.link.port import PortBroken
from protocol.link.reactor import Reactor
from protocol.link.trust import ClientTls

TIMEOUT: Final = 10.0  # seconds for each step
SLOW: Final = 1.0  # seconds from which a step is worth a note

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One step. `seconds` is None where nothing was waited for; `hint` says what to do."""

    step: str
    state: State
    text: str
    seconds: float | None = None
    hint: str = ""


async def findings(plan: Plan) -> AsyncIterator[Finding]:
    """One after the other, as they are found."""
    yield _configuration(plan)
    ready = True
    for step, look in (("dns", _resolve), ("reach", _reach), ("login", _login)):
        if ready and not (plan.proxy is not None and step == "dns"):
            found = await _timed(step, partial(look, plan))
            ready = found.state != "fail"
            yield found
    for spec in plan.tunnels:
        for upstream in dict.fromkeys(filter(None, spec.upstreams.values())):
            yield await _timed(f"service {spec.name}", partial(_service, upstream))


async def _timed(step: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    began = trio.current_time()
    try:
        found = await look()
    except Fault as fault:
        found = Finding(step, "fail", fault.message, hint=fault.hint or HINTS.get(fault.code, ""))
    seconds = trio.current_time() - began
    state: State = "warn" if found.state == "ok" and seconds > SLOW else found.state
    hint = found.hint or ("this is slow: look at the line, or at the resolver" if state == "warn" else "")
    return Finding(step, state, found.text, seconds, hint)


HINTS: Final = {
    "unresolved": "check server_addr (or -server), and this machine's DNS",
    "refused": "is ngrokd running there, and on that port?",
    "dial_timeout": "is there a firewall between? ngrokd's tunnel port (4443) must be open",
    "unreachable": "is this machine online?",
    "link_lost": "is that the tunnel port of an ngrokd, and not its http port?",
    "token_needed": "put auth_token into the configuration, or set NGROK_AUTHTOKEN",
    "bad_token": "ask the server's operator for a token: ngrokd token add NAME",
    "tls": "is that the tunnel port of an ngrokd, and not its http port?",
}


SERVICE_HINTS: Final = {
    "unresolved": "check the tunnel's address, and this machine's DNS",
    "refused": "start the service, or correct the port",
    "dial_timeout": "is it there, and no firewall between?",
    "unreachable": "check the tunnel's address",
}
PROXY_HINTS: Final = {
    "unresolved": "check http_proxy, in the configuration and in the environment",
    "refused": "is the proxy running there, and on that port?",
    "dial_timeout": "is it there, and no firewall between?",
}


@contextmanager
def _naming(place: object, hints: Mapping[str, str]) -> Iterator[None]:
    """A fault in the block gets the place it is about, and a hint that fits it."""
    try:
        yield
    except Fault as fault:
        hint = fault.hint or hints.get(fault.code, "")
        raise Fault(fault.code, f"{place}: {fault.message}", blame=fault.blame, hint=hint) from fault


def _configuration(plan: Plan) -> Finding:
    path = plan.config.path
    place = str(path) if path is not None and path.exists() else "no file"
    token = "with a token" if plan.config.token else "without a token"
    return Finding("config", "ok", f"{place}; server {plan.server}, {len(plan.tunnels)} tunnels, {token}")


async def _resolve(plan: Plan) -> Finding:
    host, port = plan.server.host, plan.server.port
    try:
        with trio.fail_after(TIMEOUT):
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, trio.TooSlowError) as error:
        raise Fault("unresolved", f"{host} has no address") from error
    return Finding("dns", "ok", f"{host} is {', '.join(sorted({str(entry[4][0]) for entry in found}))}")


async def _reach(plan: Plan) -> Finding:
    if plan.proxy is not None:
        with _naming(f"the proxy {plan.proxy}", PROXY_HINTS):
            port = await dial_tcp(plan.proxy.host, plan.proxy.port, timeout=TIMEOUT)
        port.close()
        return Finding("reach", "ok", f"the proxy {plan.proxy} answers")
    port = await dial_tcp(plan.server.host, plan.server.port, timeout=TIMEOUT)
    peer = port.peer
    port.close()
    return Finding("reach", "ok", f"{peer[0] if peer else plan.server.host} answers at port {plan.server.port}")


async def _login(plan: Plan) -> Finding:
    """TLS and token together: a server that is asked for a login must have shown its certificate."""
    notes: list[str] = []
    config = plan.config
    tls = ClientTls(
        ca=config.ca,
        pin=pin_of(AgentSettings(plan.server, token=config.token, ca=config.ca, pin=config.pin)),
        loopback=plan.proxy is None and not config.token,
        notify=notes.append,
    )
    outcome: Login | Fault = Fault("internal")
    async with trio.open_nursery() as nursery:  # what is raised in here would come out in a group
        reactor = new_reactor()
        await nursery.start(reactor.run)
        shared = _shared(plan, tls, reactor)
        try:
            outcome = await log_in(shared)
            outcome.link.port.close()
        except Fault as fault:
            outcome = fault
        except PortBroken as error:
            outcome = LinkError("link_lost", str(error))
        shared.visitors.close()
        nursery.cancel_scope.cancel()
    if isinstance(outcome, RefusedError):
        raise Fault(outcome.code, f"TLS is fine, but the server says: {outcome.message}", hint=outcome.hint)
    if isinstance(outcome, Fault):
        raise outcome
    answer = outcome.answer
    dialect = "native" if answer.caps else "ngrok 1.7's dialect"
    text = f"TLS and token are good; server {product_of(answer)}, {dialect}"
    return Finding("login", "warn" if notes else "ok", text, hint="; ".join(notes))


def _shared(plan: Plan, tls: ClientTls, reactor: Reactor) -> Shared:
    dialer = ServerDialer(plan.server, tls, plan.proxy, reactor)
    visitors = Visitors(reactor, EventBus(), lambda _job: None, None)
    return Shared(dialer, visitors, TunnelBook(), Identity(), plan.config.token, LiveLegs(), plan.config.mux)


async def _service(upstream: Upstream) -> Finding:
    with _naming(upstream, SERVICE_HINTS):
        port = await dial_upstream(upstream, timeout=TIMEOUT)
    port.close()
    return Finding("service", "ok", f"{upstream} answers")


def line(finding: Finding) -> str:
    """A finding for people."""
    sign = {"ok": "ok  ", "warn": "note", "fail": "FAIL"}[finding.state]
    spent = "" if finding.seconds is None else f"{finding.seconds * 1000:5.0f} ms"
    hint = f"\n{'':<28}-> {finding.hint}" if finding.hint and finding.state != "ok" else ""
    return f"{sign}  {finding.step:<14} {spent:>8}  {finding.text}{hint}"
