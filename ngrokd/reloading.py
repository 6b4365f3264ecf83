"""Changing settings, certificates, limits, logs and error pages while the server runs: asked for (SIGHUP, the operator) or
because a file has changed.

Everything new is read and checked first; only then is anything changed, in one step. What is wrong is said with its place,
and the old state serves on. A file is looked at twice a second and must have been the same at two looks, so that a pair
that is being copied is not taken half.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from ngrokd import certs
from ngrokd.certdir import CertificateDirectory
from ngrokd.certs import ServerCertificate
from ngrokd.edge.pages import Pages
from ngrokd.json_lines import check_target
from ngrokd.settings import Settings, flags
from protocol.errors import Fault
from protocol.link.logs import Log

LOOK_EVERY: Final = 0.5  # seconds
LIVE: Final = frozenset({
    "grace", "tcp_ports", "open", "tls_crt", "tls_key", "cert_dir", "error_pages", "access_log", "audit_log", "log_level",
    "trusted_proxies", "tcp_proxies", "max_visitors", "max_visitors_per_address", "visitor_rate", "max_body",
})  # fmt: skip
"""Fields of Settings that may change under way; the others wait for the next start."""

Signature = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read and checked, ready to be used."""

    settings: Settings
    certificate: ServerCertificate
    context: ssl.SSLContext
    pages: Pages
    certificates: CertificateDirectory | None
    pending: tuple[str, ...] = ()
    """Flags whose new value waits for the next start."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload has done, in flags' names and words: what is in use now, and flags that need a restart."""

    applied: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sources:
    """How things are read; all of it blocks and raises ConfigError or OSError."""

    settings: Callable[[], Settings]
    certificate: Callable[[Settings], ServerCertificate]
    certificates: Callable[[Settings], CertificateDirectory | None]


class Reloader:
    """`use(fresh)` puts things to work, synchronously; `noted(why, changes)` hears of reloads that nobody waits for."""

    def __init__(
        self,
        now: Fresh,
        sources: Sources,
        use: Callable[[Fresh], None],
        log: Log,
        noted: Callable[[str, Changes], None] = lambda _why, _changes: None,
    ) -> None:
        self.now = now
        self._noted = noted
        self._sources = sources
        self._use = use
        self._log = log
        self._lock = trio.Lock()
        self._contents = contents(now)
        self._watching = trio.CancelScope()

    async def reload(self) -> Changes:
        """Read all again; what has changed. Raises ConfigError (or OSError); then nothing has."""
        async with self._lock:
            fresh, found = await trio.to_thread.run_sync(self._read)
            changes = Changes(_settings_changed(self.now, fresh), list(fresh.pending))
            changes.applied.extend(_files_changed(self._contents, found))
            self._use(fresh)
            before, self.now, self._contents = self.now, fresh, found
            if fresh.certificates is not before.certificates:
                self._watching.cancel()
            elif fresh.certificates is not None:
                changes.applied.extend(await fresh.certificates.reload())
        waiting = {"restart": ", ".join(changes.restart)} if changes.restart else {}
        self._log.info("configuration read again", changed=", ".join(changes.applied) or "nothing", **waiting)
        return changes

    def _read(self) -> tuple[Fresh, dict[str, object]]:
        before = self.now
        read = self._sources.settings()
        settings = merged(before.settings, read)
        kept = before.certificates if settings.cert_dir == before.settings.cert_dir else None
        fresh = load(settings, self._sources, kept, pending(before.settings, read))
        return fresh, contents(fresh)

    async def try_reload(self, why: str) -> bool:
        """The same for those who can only write failures down; whether it worked."""
        try:
            self._noted(why, await self.reload())
        except Fault as fault:
            place = f"{getattr(fault, 'place', '')}: ".removeprefix(": ")
            self._log.error(
                "the new configuration is not used; the old one serves on", why=why, reason=place + fault.message,
                hint=fault.hint,
            )  # fmt: skip
        except OSError as error:
            self._log.error("the new configuration is not used; the old one serves on", why=why, reason=str(error))
        else:
            return True
        return False

    async def watch_certificates(self) -> None:
        """The same for the directory of certificates, whichever it is, for ever."""
        while True:
            directory = self.now.certificates
            with trio.CancelScope() as self._watching:
                if directory is None:
                    await trio.sleep_forever()
                else:
                    await directory.watch()

    async def watch(self) -> None:
        """Reload when a file has changed, for ever."""
        used = before = await trio.to_thread.run_sync(signature, self.files())
        while True:
            await trio.sleep(LOOK_EVERY)
            found = await trio.to_thread.run_sync(signature, self.files())
            if found != used and found == before:
                used = found
                await self.try_reload("a file has changed")
            before = found

    def files(self) -> list[Path]:
        """What is looked at."""
        settings = self.now.settings
        found = [path for path in (settings.config, settings.tls_crt, settings.tls_key) if path is not None]
        return [*found, *_templates(settings)]


def load(
    settings: Settings,
    sources: Sources,
    kept: CertificateDirectory | None = None,
    waiting: tuple[str, ...] = (),
) -> Fresh:
    """Certificates, TLS context and pages for `settings` (blocking); `kept` is a directory that is read already. Raises
    ConfigError, OSError."""
    for target, flag in ((settings.access_log, "accessLog"), (settings.audit_log, "auditLog")):
        check_target(target, flag)
    certificate = sources.certificate(settings)
    directory = kept or sources.certificates(settings)
    context = certs.server_context(certificate)
    return Fresh(settings, certificate, context, Pages(settings.error_pages), directory, waiting)


def merged(now: Settings, read: Settings) -> Settings:
    """`now` with what may change under way from `read`."""
    return now.model_copy(update={name: getattr(read, name) for name in LIVE})


def pending(now: Settings, read: Settings) -> tuple[str, ...]:
    """Flags whose new value waits for the next start."""
    return tuple(
        flag.name for name, flag in flags().items() if name not in LIVE and getattr(now, name) != getattr(read, name)
    )


def _settings_changed(before: Fresh, after: Fresh) -> list[str]:
    names = flags()
    old, new = before.settings, after.settings
    return [names[name].name for name in sorted(LIVE) if getattr(old, name) != getattr(new, name)]


def _files_changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [what for what, found in after.items() if before[what] != found]


def contents(fresh: Fresh) -> dict[str, object]:
    """What the files say, to compare (blocking)."""
    return {"certificate": fresh.certificate.certificate.read_bytes(), "error pages": fresh.pages.texts()}


def signature(paths: Iterable[Path]) -> Signature:
    """Changes when one of the files does (blocking)."""
    found: list[Any] = []
    for path in paths:
        try:
            state = path.stat()
        except OSError:
            found.append((str(path), None))
        else:
            found.append((str(path), state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(found)


def _templates(settings: Settings) -> list[Path]:
    if settings.error_pages is None:
        return []
    try:
        return sorted(settings.error_pages.glob("*.html"))[:200]
    except OSError:
        return []
