"""What a server remembers: tokens, reservations, held and remembered names. See `base.Store`."""

from ngrokd.store.base import Store
from ngrokd.store.records import Hold, Kind, Name, Notes, Reservation, TokenRecord

__all__ = ["Hold", "Kind", "Name", "Notes", "Reservation", "Store", "TokenRecord"]
