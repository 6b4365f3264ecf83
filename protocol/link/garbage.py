"""Python's cycle collector, set for a long-lived program of many small, short-lived objects. For programs, not libraries:
the setting is the process's, so only the two command lines call this."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 20_000  # allocations between two looks at the young; the default of 700 means one look every 40 requests


def settle_collector() -> None:
    """Call once after the imports: what is there now is never looked at again, and looks are rare, because a tenth of the
    data path's time went into them (docs/performance.md). It frees by reference counts: who leaves lets go of the circles it
    hangs in (`VisitorConnection.untie`, `Relay`, `Connecting`)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 50, 100)
