"""From Settings to what guards the public listeners: who is trusted, how many may come, which certificates there are.

Blocks (files); called before the loop serves. Raises ConfigError that names the flag.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from ngrokd.certdir import CertificateDirectory
from ngrokd.edge.crowd import Crowd, CrowdLimits, descriptor_ceiling
from ngrokd.edge.guard import Guard, GuardRules
from ngrokd.settings import Settings
from protocol.link.logs import Log


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """`guard` is None where nothing is asked of a request, `certificates` without -certDir."""

    guard: Guard | None
    crowd: Crowd
    certificates: CertificateDirectory | None


def open_front_door(settings: Settings, log: Log, clock: Callable[[], float] = time.monotonic) -> FrontDoor:
    """`clock` is that of the request rates, in seconds."""
    rules = GuardRules(settings.trusted_proxies, settings.visitor_rate, settings.max_body)
    limits = CrowdLimits(
        settings.max_visitors, settings.max_visitors_per_address, descriptor_ceiling(raise_descriptor_limit())
    )
    certificates = None
    if settings.cert_dir is not None:
        certificates = CertificateDirectory(settings.cert_dir, log)
        certificates.load(strict=True)
    return FrontDoor(Guard(rules, clock) if rules else None, Crowd(limits), certificates)


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
