"""Where commands are carried out: words and plain arguments in, plain data out. The same on a running and a stopped server.

It checks what came in, calls the ledger and shapes the answer for JSON; how it looks for people is the commands' business.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ngrokd import certs
from ngrokd.grants import (
    Scope,
    parse_bandwidth,
    parse_changes,
    parse_count,
    parse_hosts,
    parse_lifetime,
    parse_port_ranges,
    parse_rate,
)
from ngrokd.ledger import Ledger
from ngrokd.state import StateDirectory
from ngrokd.store.records import TokenRecord
from ngrokd.store.sqlite import DATABASE
from protocol.errors import Blame, Fault

KEPT_FILES: Final = (
    certs.CA_CERTIFICATE,
    certs.CA_KEY,
    certs.CERTIFICATE,
    certs.KEY,
)  # without the key pins are worthless

PART: Final = ".part"  # ends the name of an archive that is being written

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """`server` is the address that clients are told to use; `running` whether sessions can be there."""

    ledger: Ledger
    state: StateDirectory
    server: str
    running: bool

    async def carry_out(self, word: str, arguments: Mapping[str, Any]) -> Any:
        """Raises Fault, for a word that there is not, too."""
        commands: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
            "token_add": self._token_add,
            "token_list": self._token_list,
            "token_revoke": self._token_revoke,
            "token_rotate": self._token_rotate,
            "token_set": self._token_set,
            "reserve": self._reserve,
            "unreserve": self._unreserve,
            "reservations": self._reservations,
            "backup": self._backup,
        }
        if word not in commands:
            raise Fault("bad_argument", "the running ngrokd does not know this command", blame=Blame.OPERATOR)
        return await commands[word](arguments)

    # -- tokens
    async def _token_add(self, given: Mapping[str, Any]) -> Json:
        lifetime = given.get("expires")
        record, text = await self.ledger.add_token(
            _text(given, "name"),
            scope_from(given),
            None if lifetime is None else _named("expires", parse_lifetime, str(lifetime)),
        )
        return self._told(record) | {"token": text.reveal(), "server": self.server}

    async def _token_list(self, _: Mapping[str, Any]) -> list[Json]:
        return [self._told(record) for record in await self.ledger.tokens()]

    async def _token_revoke(self, given: Mapping[str, Any]) -> Json:
        forget = bool(given.get("forget"))
        record = await self.ledger.find(_text(given, "name"), revoked_too=forget)
        change = self.ledger.forget_token if forget else self.ledger.revoke_token
        ended = await change(record.id)
        left = len(await self.ledger.tokens())
        return {"id": record.id, "name": record.name, "sessions_ended": ended, "tokens_left": left}

    async def _token_rotate(self, given: Mapping[str, Any]) -> Json:
        record = await self.ledger.find(_text(given, "name"))
        record, text = await self.ledger.rotate_token(record.id)
        return self._told(record) | {"token": text.reveal(), "server": self.server}

    async def _token_set(self, given: Mapping[str, Any]) -> Json:
        limits = given.get("limits")
        if not isinstance(limits, Mapping) or not limits:
            raise Fault("bad_argument", "nothing to change: name a limit", blame=Blame.OPERATOR)
        record = await self.ledger.find(_text(given, "name"))
        return self._told(await self.ledger.limit_token(record.id, parse_changes(limits)))

    def _told(self, record: TokenRecord) -> Json:
        """A token for lists: everything but what proves it."""
        shown = asdict(record)
        del shown["digest"]
        shown["scope"] = {key: value for key, value in shown["scope"].items() if value}
        expired = record.expires is not None and record.expires <= self.ledger.clock()
        shown["state"] = "revoked" if record.revoked is not None else "expired" if expired else "active"
        return shown

    # -- names
    async def _reserve(self, given: Mapping[str, Any]) -> Json:
        record = await self.ledger.find(_text(given, "for"))
        entry = await self.ledger.reserve(self.ledger.name(_text(given, "name")), record.id)
        return {"kind": entry.name.kind, "name": entry.name.text, "token": record.name}

    async def _unreserve(self, given: Mapping[str, Any]) -> Json:
        name = self.ledger.name(_text(given, "name"))
        await self.ledger.unreserve(name)
        return {"kind": name.kind, "name": name.text}

    async def _reservations(self, _: Mapping[str, Any]) -> list[Json]:
        owners = {record.id: record for record in await self.ledger.tokens()}
        return [
            {
                "kind": entry.name.kind,
                "name": entry.name.text,
                "token": owners[entry.token].name,
                "revoked": owners[entry.token].revoked is not None,
                "created": entry.created,
            }
            for entry in await self.ledger.reservations()
        ]

    # -- backup
    async def _backup(self, given: Mapping[str, Any]) -> Json:
        """A tar file with the store and the server's keys: unpacked into an empty state directory it is this server."""
        target = Path(_text(given, "file"))
        if not target.is_absolute():
            raise Fault("bad_argument", "the file must be an absolute path", blame=Blame.OPERATOR)
        copy = self.state.file(f".{DATABASE}.copy")
        try:
            await self.ledger.store.backup(copy)
            size = await trio.to_thread.run_sync(_pack, self.state, copy, target)
        except OSError as error:
            asked = str(error.filename or target).endswith(PART)
            raise Fault(
                "backup_failed",
                f"{target if asked else error.filename or target}: {error.strerror or error}",
                blame=Blame.OPERATOR,
                hint="name a file in a directory that the server's user may write",
            ) from error
        finally:
            copy.unlink(missing_ok=True)
        return {"file": str(target), "bytes": size}


def _pack(state: StateDirectory, copy: Path, target: Path) -> int:
    """Write the archive beside `target`, sync, rename. Blocks; raises OSError."""
    beside = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                _add(archive, DATABASE, copy.read_bytes())
                for name in KEPT_FILES:
                    if state.file(name).exists():
                        _add(archive, name, state.file(name).read_bytes())
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return size


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    archive.addfile(entry, io.BytesIO(data))


def scope_from(given: Mapping[str, Any]) -> Scope:
    """The limits in a command's arguments; what is not there is no limit. Raises Fault."""

    def value(key: str, parse: Callable[[Any], Any], otherwise: Any = None) -> Any:
        found = given.get(key)
        return otherwise if found is None else _named(key, parse, found)

    return Scope(
        allow_hosts=value("allow_host", parse_hosts, ()),
        allow_ports=value("allow_port", parse_port_ranges, ()),
        max_tunnels=value("max_tunnels", parse_count),
        max_sessions=value("max_sessions", parse_count),
        max_connections=value("max_connections", parse_count),
        max_requests=value("max_requests", parse_rate),
        max_bandwidth=value("max_bandwidth", parse_bandwidth),
    )


def _named(key: str, parse: Callable[[Any], Any], value: Any) -> Any:
    """What `parse` makes of it; its Fault gets the name of the argument."""
    try:
        return parse(value)
    except Fault as fault:
        raise Fault(fault.code, f"{key}: {fault.message}", blame=fault.blame, hint=fault.hint) from fault


def _text(given: Mapping[str, Any], key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str) or not found:
        raise Fault("bad_argument", f"{key} is missing", blame=Blame.OPERATOR)
    return found
