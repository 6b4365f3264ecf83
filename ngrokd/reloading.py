"""Changing settings, certificate and error pages while the server runs: asked for (SIGHUP, the operator) or because a file
has changed.

Everything new is read and checked first; only then is anything changed, in one step. What is wrong is said with its place,
and the old state serves on. A file is looked at twice a second and must have been the same at two looks, so that a pair
that is being copied is not taken half.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ngrokd import certs
from ngrokd.certs import ServerCertificate
from ngrokd.edge.pages import Pages
from ngrokd.settings import Settings, flags
from protocol.errors import Fault
from protocol.link.logs import Log

LOOK_EVERY: Final = 0.5  # seconds
LIVE: Final = frozenset({"grace", "tcp_ports", "tls_crt", "tls_key", "error_pages"})
"""Fields of Settings that may change under way; the others wait for the next start."""

Signature = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read and checked, ready to be used."""

    settings: Settings
    certificate: ServerCertificate
    context: ssl.SSLContext
    pages: Pages
    pending: tuple[str, ...] = ()
    """Flags whose new value waits for the next start."""


@dataclass(frozen=True, slots=True)
class Sources:
    """How things are read; all of it blocks and raises ConfigError or OSError."""

    settings: Callable[[], Settings]
    certificate: Callable[[Settings], ServerCertificate]


class Reloader:
    """`use(fresh)` puts things to work, synchronously."""

    def __init__(self, now: Fresh, sources: Sources, use: Callable[[Fresh], None], log: Log) -> None:
        self.now = now
        self._sources = sources
        self._use = use
        self._log = log
        self._lock = trio.Lock()
        self._contents = contents(now)

    async def reload(self) -> list[str]:
        """Read all again; what has changed, in words. Raises ConfigError (or OSError); then nothing has."""
        async with self._lock:
            fresh, found = await trio.to_thread.run_sync(self._read)
            changed = [*_settings_changed(self.now, fresh), *_files_changed(self._contents, found)]
            self._use(fresh)
            self.now, self._contents = fresh, found
        self._log.info("configuration read again", changed=", ".join(changed) or "nothing")
        return changed

    def _read(self) -> tuple[Fresh, dict[str, object]]:
        read = self._sources.settings()
        fresh = load(merged(self.now.settings, read), self._sources, pending(self.now.settings, read))
        return fresh, contents(fresh)

    async def try_reload(self, why: str) -> bool:
        """The same for those who can only write failures down; whether it worked."""
        try:
            await self.reload()
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


def load(settings: Settings, sources: Sources, waiting: tuple[str, ...] = ()) -> Fresh:
    """Certificate, TLS context and pages for `settings` (blocking). Raises ConfigError, OSError."""
    certificate = sources.certificate(settings)
    return Fresh(settings, certificate, certs.server_context(certificate), Pages(settings.error_pages), waiting)


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
    live = [names[name].name for name in sorted(LIVE) if getattr(old, name) != getattr(new, name)]
    return [*live, *(f"{name} (at the next start)" for name in after.pending)]


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
