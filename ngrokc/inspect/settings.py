"""What the inspector may use and where it listens: plain frozen values. Knows nothing of configuration files or flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets, in bytes unless the name says otherwise. Together they keep an agent within 64 MiB of its idle size."""

    body_memory: int = 64 * KIB
    """Of each body this much stays in memory; a larger one also goes to a file."""
    body_total: int = 10 * MIB
    """Of each body no more is kept than this: more than a webhook, less than a film."""
    exchanges: int = 2000
    """How many exchanges are remembered in all; the oldest finished one makes room."""
    tunnel_exchanges: int = 1500
    """How many of one tunnel, so that a flood on one does not wipe out the rest."""
    memory: int = 16 * MIB
    """Heads, bodies and messages of all exchanges in memory."""
    tunnel_memory: int = 12 * MIB
    disk: int = 256 * MIB
    """All spooled bodies together."""
    spool_queue: int = 4 * MIB
    """Bytes on their way to the disk: a slow disk costs captures, not memory."""
    queue: int = 8 * MIB
    """Copies that taps made and nobody parsed yet."""
    connection_queue: int = 1 * MIB
    """The same for one connection."""
    head: int = 64 * KIB
    """A head longer than this ends the capture of its connection: the edge takes 32 KiB, an answer may have more."""
    messages: int = 500
    """WebSocket messages or server-sent events of one exchange; the oldest make room."""
    message: int = 64 * KIB
    """Of each message this much is kept."""
    messages_memory: int = 1 * MIB
    """All messages of one exchange."""
    age: float = 24 * 3600.0
    """Seconds after which a finished exchange is forgotten."""
    cpu_share: float = 0.06
    """Part of one processor that following every exchange of the tunnels may take: up to a thousand or two a second."""
    sample_share: float = 0.01
    """The part while that is not enough: a few hundred exchanges a second of each ten thousand are seen, the rest counted."""


@dataclass(frozen=True, slots=True)
class InspectSettings:
    """`host` and `port` of the listener (port 0: any; `port_span`: how many next ports to try when one is taken).
    `open_api`: local programs need no token. `hosts`: further `host:port` spellings under which the page may be asked for.
    `token_file`: where the token is written for scripts, None for nowhere. `spool_parent`: where the private directory for
    large bodies is made, None for the system's place."""

    host: str = "127.0.0.1"
    port: int = 4040
    port_span: int = 1
    open_api: bool = False
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    spool_parent: Path | None = None
    version: str = ""
    limits: Limits = field(default_factory=Limits)
