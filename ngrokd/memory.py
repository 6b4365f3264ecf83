"""Whom a random name is remembered for. Pure.

An agent without a token: for its client id. One with a token: for that token's agent (token and client id together), and
for the token as a whole, whose names any of its agents may have again when nobody uses them: a 1.7 client has a new id at
each start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ngrokd.affinity import Affinity, owner_key
from ngrokd.session import Identity

SHARED: Final = 16  # names remembered for a token as a whole


def candidates(affinity: Affinity, identity: Identity, kind: str, slot: int) -> Iterator[str]:
    """What this agent should be offered for its random tunnel number `slot`, best first; it may be taken by now."""
    own = affinity.recall(_personal(identity), kind, slot)
    if own is not None:
        yield own
    if identity.account:
        for number in range(SHARED):
            shared = affinity.recall(owner_key("", identity.account), kind, number)
            if shared is not None and shared != own:
                yield shared


def keep(affinity: Affinity, identity: Identity, kind: str, slot: int, value: str) -> None:
    """`value` was given."""
    affinity.remember(_personal(identity), kind, slot, value)
    if not identity.account:
        return
    owner = owner_key("", identity.account)
    known = [affinity.recall(owner, kind, number) for number in range(SHARED)]
    if value not in known:
        free = known.index(None) if None in known else slot % SHARED
        affinity.remember(owner, kind, free, value)


def _personal(identity: Identity) -> str:
    client = owner_key(identity.key.client_id)
    return f"account:{identity.account} {client}" if identity.account else client
