"""The gate before the gate: bans, and a line in the audit log for each login that was refused. Wraps any other Gate.

The audit line carries the address first and in one form, so that fail2ban and kin need one pattern:
`login refused` with `address=ADDRESS` (console) or `"address": "ADDRESS"` (JSON). It must not know what a token is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ngrokd.admin.audit import Audit
from ngrokd.admin.bans import Ban, Bans
from ngrokd.admin.meters import Meters
from ngrokd.gate import Admission, Arrival, Gate
from protocol.errors import Blame, Fault, RefusedError
from protocol.messages import Auth


@dataclass(frozen=True, slots=True)
class Doorman:
    """Asks `inner`; `now` is the clock of `bans`."""

    inner: Gate
    bans: Bans
    meters: Meters
    audit: Audit
    now: Callable[[], float]

    async def admit(self, auth: Auth, arrival: Arrival) -> Admission:
        """See Gate."""
        try:
            self._check(self.bans.covering(self.now(), address=arrival.peer, client=auth.client_id))
            admission = await self.inner.admit(auth, arrival)
            self._check(self.bans.covering(self.now(), token=admission.account))
        except Fault as fault:
            self.meters.refused_logins[fault.code] += 1
            self.audit.login_refused(arrival.peer, fault.code, auth.client_id)
            raise
        self.meters.logins += 1
        return admission

    def _check(self, ban: Ban | None) -> None:
        if ban is not None:
            seconds = max(1, round(ban.until - self.now()))
            raise RefusedError(
                "banned",
                f"the operator of this server keeps this agent out for another {seconds} s",
                blame=Blame.AGENT,
                retry=True,
            )
