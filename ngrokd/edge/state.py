"""Where a visitor connection is."""

from __future__ import annotations

import enum


class State(enum.Enum):
    HEAD = "head"  # between exchanges, or within a request head
    OPENING = "opening"  # the request is parsed; its stream is not there yet
    EXCHANGE = "exchange"
    OVER = "over"  # upgraded, lingering or closed: the port belongs to somebody else
