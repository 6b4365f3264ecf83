"""How a command reaches the server's books: through the socket of a running server, else by opening the store itself.

The store's lock decides which it is, so the two never write at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import trio

from ngrokd import certs
from ngrokd.claims import Claims
from ngrokd.desk import Desk
from ngrokd.ledger import Ledger
from ngrokd.local import SOCKET, ask
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory, default_directory
from ngrokd.store.sqlite import open_store
from protocol.errors import Blame, Fault
from protocol.names import Zone


def operate(settings: Settings, word: str, **arguments: Any) -> Any:
    """Have `word` carried out and give what it answers. Raises Fault."""
    given = {key: value for key, value in arguments.items() if value is not None}
    return trio.run(_operate, settings, word, given)


async def _operate(settings: Settings, word: str, arguments: Mapping[str, Any]) -> Any:
    state = StateDirectory(settings.state_dir or default_directory(os.environ, root=os.geteuid() == 0))
    try:
        return await ask(state.file(SOCKET), word, arguments)
    except (FileNotFoundError, ConnectionRefusedError):
        pass  # no server, or one that was killed and left its socket
    except OSError as error:
        raise Fault("no_answer", f"{state.file(SOCKET)}: {error.strerror}", blame=Blame.OPERATOR) from error
    return await _alone(settings, state, word, arguments)


async def _alone(settings: Settings, state: StateDirectory, word: str, arguments: Mapping[str, Any]) -> Any:
    """With no server running."""
    store = await open_store(state.path)
    try:
        facts = await store.facts()
        domain = settings.domain if "domain" in settings.model_fields_set else facts.get("domain", settings.domain)
        assert settings.tunnel_addr is not None  # Settings refuses that
        given = settings.tunnel_addr.port if "tunnel_addr" in settings.model_fields_set else 0
        port = given or int(facts.get("tunnel_port", settings.tunnel_addr.port))
        pin = await trio.to_thread.run_sync(_pin, settings, state, facts.get("own_certificate", "yes") == "yes")
        ledger = Ledger(store, Claims(), Zone(domain), pin, ports=lambda: settings.tcp_ports)
        return await Desk(ledger, state, f"{domain}:{port}", running=False).carry_out(word, arguments)
    finally:
        await store.aclose()


def _pin(settings: Settings, state: StateDirectory, own: bool) -> str:
    """The fingerprint that tokens carry; none where the certificate is the operator's own."""
    return certs.own_fingerprint(state) if own and settings.tls_crt is None else ""
