"""From Settings to what guards the public listeners: who is trusted, how many may come, which certificates there are.

A reload changes all of it under way (`FrontDoor.use`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ngrokd.certdir import CertificateDirectory
from ngrokd.edge.crowd import Crowd, CrowdLimits, descriptor_ceiling
from ngrokd.edge.guard import Guard, GuardRules
from ngrokd.settings import Settings
from protocol.errors import ConfigError
from protocol.link.logs import Log

DEAREST_VISITOR: Final = 64 * 1024  # bytes, of one who has proved nothing: half a ClientHello makes OpenSSL take 53 KiB
LEAST_VISITORS: Final = 1024
CONTAINER_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


@dataclass(slots=True)
class FrontDoor:
    """`guard` is None while nothing was ever asked of a request; `clock` is that of the request rates, in seconds."""

    guard: Guard | None
    crowd: Crowd
    clock: Callable[[], float]

    def use(self, settings: Settings) -> None:
        """Other limits, other trust. Whoever has come stays, and counts where it was counted. A guard that is there
        stays too: it remembers rates, and visitors that a trusted proxy has brought still belong to somebody."""
        rules = guard_rules(settings)
        if self.guard is not None:
            self.guard.rules = rules
        elif rules:
            self.guard = Guard(rules, self.clock)
        self.crowd.use(crowd_limits(settings, self.crowd.limits.descriptors))


def open_front_door(settings: Settings, clock: Callable[[], float] = time.monotonic) -> FrontDoor:
    """Raises the limit on descriptors, too."""
    rules = guard_rules(settings)
    limits = crowd_limits(settings, descriptor_ceiling(raise_descriptor_limit()))
    return FrontDoor(Guard(rules, clock) if rules else None, Crowd(limits), clock)


def guard_rules(settings: Settings) -> GuardRules:
    return GuardRules(settings.trusted_proxies, settings.visitor_rate, settings.max_body)


def crowd_limits(settings: Settings, descriptors: int) -> CrowdLimits:
    in_all = settings.max_visitors or visitors_by_memory()
    return CrowdLimits(in_all, settings.max_visitors_per_address, descriptors)


def visitors_by_memory(limit_file: Path = CONTAINER_LIMIT) -> int:
    """As many as a quarter of the memory holds, the container's where there is one: a crowd must not cost the agents their
    server. `limit_file`: where Linux tells a container's limit, "max" for none."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(limit_file.read_text()))
    return max(memory // 4 // DEAREST_VISITOR, LEAST_VISITORS)


def open_certificates(settings: Settings, log: Log) -> CertificateDirectory | None:
    """What -certDir names, loaded (blocks); None without it. Raises ConfigError, OSError."""
    if settings.cert_dir is None:
        return None
    found = CertificateDirectory(settings.cert_dir, log)
    try:
        found.load(strict=True)
    except ValueError as error:
        raise ConfigError(f"-certDir: a certificate can't be read: {error}", hint="it must be PEM") from error
    return found


def raise_descriptor_limit() -> int:
    """As many descriptors as the system lets this process have, as Go programs do; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # macOS names a limit that it does not grant; the soft one is ours anyway
    return soft
