"""The gate of a server that may have tokens: with none on the books the address decides, with one everybody needs one.

The store is asked at each login, so a token that was added or revoked a moment ago counts. A store that can't be read lets
nobody in. What a wrong token was wrong in is said only to who has the right secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ngrokd.gate import AddressGate, Admission, Arrival
from ngrokd.grants import Grant, compile_grant
from ngrokd.store.base import Store
from ngrokd.store.records import TokenRecord
from protocol.errors import Blame, Fault, RefusedError
from protocol.messages import Auth
from protocol.secret import Secret
from protocol.token import Token, parse_token

ASK = "ask its operator for one: ngrokd token add NAME"
_NOBODY = "0" * 64  # compared with when there is no such token, so that both take the same time

Used = Callable[[str, float, str], None]


@dataclass(slots=True)
class TokenGate:
    """See the module. `used(token id, when, address)` is told of each login with a token; `open` may change under way."""

    store: Store
    domain: str
    open: bool
    used: Used
    clock: Callable[[], float] = time.time

    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:
        """See Gate."""
        try:
            if not await self.store.has_tokens():
                return await AddressGate(self.open).admit(auth, arrival)
            token = parse_token(auth.user)
            record = await self.store.has_token(token.id) if token is not None else None
        except RefusedError:
            raise
        except Fault as fault:
            raise RefusedError(
                "unavailable", "this server can't read its tokens", blame=Blame.SERVER, retry=True
            ) from fault
        return self._judge(auth, arrival, token, record)

    def _judge(self, auth: Auth, arrival: Arrival, token: Token | None, record: TokenRecord | None) -> Admission:
        digest = token.secret.digest() if token is not None else ""
        fits = Secret(record.digest if record is not None else _NOBODY).matches(digest)
        if not auth.user.strip():
            _refuse("token_needed", f"this server needs a token; {ASK}")
        if record is None or not fits:
            _refuse("bad_token", f"this token is not known here; {ASK}")
        if record.revoked is not None:
            _refuse("bad_token", f"this token was revoked; {ASK}")
        grant = grant_of(record, self.domain)
        now = self.clock()
        grant.check_alive(now)
        self.used(record.id, now, arrival.peer)
        return Admission(record.id, grant)


def grant_of(record: TokenRecord, domain: str) -> Grant:
    """What a token on the books allows on the server of `domain`."""
    return compile_grant(record.id, record.name, record.scope, domain=domain, expires=record.expires)


def _refuse(code: str, message: str) -> NoReturn:
    raise RefusedError(code, message, blame=Blame.AGENT, retry=False)
