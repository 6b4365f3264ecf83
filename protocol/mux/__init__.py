"""Many streams on one connection, in the yamux format: a pure machine, no IO and no clock.

`Machine` parses what came in place and keeps the states of streams and windows; `Outbox` collects what goes out in one
batch buffer, headers packed in front of payload that is already there; `Growth` and `QueueBudget` bound memory.
"""

from protocol.mux.budget import Growth, Held, QueueBudget
from protocol.mux.machine import GONE, HERE_ENDED, THERE_ENDED, Machine, Role, Stream
from protocol.mux.outbox import BatchPool, Outbox
from protocol.mux.wire import (
    ACK,
    DATA,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    HEADER,
    HEADER_BYTES,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    Leaving,
)

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "FIRST_WINDOW",
    "GONE",
    "GO_AWAY",
    "HEADER",
    "HEADER_BYTES",
    "HERE_ENDED",
    "PING",
    "RST",
    "SYN",
    "THERE_ENDED",
    "WINDOW_UPDATE",
    "BatchPool",
    "Growth",
    "Held",
    "Leaving",
    "Machine",
    "Outbox",
    "QueueBudget",
    "Role",
    "Stream",
]
