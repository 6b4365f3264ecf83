"""What the commands `ngrokd status|sessions|tunnels|kick|reload|drain` ask of a running server over its local socket.

Words that are not the operator's are passed on. Whoever can open that socket owns the server, so there is no token here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ngrokd.admin.operator import Operator
from ngrokd.admin.wishes import bad, ban_wish
from protocol.errors import ConfigError, Fault

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
BY: Final = "local"
WORDS: Final = ("status", "sessions", "tunnels", "connections", "bans", "kick", "lift", "drain", "reload")

# What goes to the audit log, in the words of the API
CHANGES: Final = {
    "token_add": "token added", "token_set": "token changed", "token_rotate": "token rotated", "token_revoke": "token revoked",
    "reserve": "name reserved", "unreserve": "name unreserved", "backup": "backup written",
}  # fmt: skip


class Words:
    """A handler for `ngrokd.local`; `others` gets what is not in WORDS, None refuses it."""

    def __init__(self, operator: Operator, others: Handler | None = None) -> None:
        self._operator = operator
        self._others = others

    async def __call__(self, word: str, given: Mapping[str, Any]) -> Any:
        """Raises Fault."""
        operator = self._operator
        match word:
            case "status":
                return operator.status()
            case "sessions":
                return operator.sessions()
            case "tunnels":
                return operator.tunnels()
            case "connections":
                return operator.connections()
            case "bans":
                return operator.banned()
            case "kick":
                return self._kick(given)
            case "lift":
                return operator.lift(_text(given, "id"), by=BY)
            case "drain":
                return operator.drain(by=BY)
            case "reload":
                return await self._reload()
        if self._others is None:
            raise Fault("bad_argument", "the running ngrokd does not know this command")
        if word in CHANGES:
            return await operator.change(CHANGES[word], self._others(word, given), by=BY, **_details(given))
        return await self._others(word, given)

    async def _reload(self) -> Any:
        try:
            return await self._operator.reload(by=BY)
        except ConfigError as error:
            place = f"{error.place}: " if error.place else ""
            raise Fault("config", f"{place}{error.message}", blame=error.blame, hint=error.hint) from error

    def _kick(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """End every session that `who` means: an id, the beginning of a client id, an address, a token, or a URL."""
        seconds, ban = ban_wish(dict(given))
        who = _text(given, "who")
        domain = self._operator.house.domain
        found = [row for row in self._operator.sessions() if means(who, row) or means(f"{who}.{domain}", row)]
        if not found:
            raise Fault(
                "no_such_session", f"no session has the id, name, URL, token id or address {who!r}",
                hint="see: ngrokd sessions",
            )  # fmt: skip
        return [self._operator.kick(row["id"], seconds, ban, by=BY) for row in found]


def means(who: str, row: Mapping[str, Any]) -> bool:
    """Whether `who` stands for this session."""
    hosts = [url.partition("://")[2] for url in row["tunnels"]]
    names = {host.partition(":")[0] for host in hosts}
    return who in {row["id"], row["client"], row["account"], row["address"], *row["tunnels"], *hosts, *names}


def _details(given: Mapping[str, Any]) -> dict[str, str]:
    """What of a command may stand in the audit log."""
    found = {key: str(given[key]) for key in ("name", "for", "file") if key in given}
    limits = given.get("limits")
    return {**found, "limits": ", ".join(sorted(map(str, limits)))} if isinstance(limits, Mapping) else found


def _text(given: Mapping[str, Any], key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str) or not found:
        bad(f"{key} is missing")
    return found
