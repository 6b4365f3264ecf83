"""How much, how often, how many at once: buckets and counted slots. Pure: the caller brings the clock (seconds, monotonic).

`Slots` counts what is in use and gives guards. `Rate` says yes or no to one more event. `FairBucket` shares a rate of bytes
between users that wait: it hands out small credits in turn, so a bulk transfer delays nobody by more than one round, and
saves up no more than a tenth of a second, so there are no bursts that fill a line.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from protocol.errors import Blame, Fault

BURST_SECONDS: Final = 0.1
SMALLEST_CREDIT: Final = 1024  # bytes; below this the work per byte is all overhead
TICK: Final = 0.001  # seconds; a shorter wait would be lost in rounding and make the sweeper spin
LARGEST_CREDIT: Final = 64 * 1024  # a write of that size is as good as a larger one

User = TypeVar("User")


def limit_reached(what: str) -> Fault:
    """The fault of whoever came too late; visitors get the page `limit_reached`, the message is for logs."""
    return Fault("limit_reached", f"too many {what}", blame=Blame.AGENT, retry=True)


class Slot:
    """One use, counted. `release` gives it back, once; as a context manager it does so on any exit."""

    __slots__ = ("_key", "_slots")

    def __init__(self, slots: Slots, key: str) -> None:
        self._slots: Slots | None = slots
        self._key = key

    def release(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back(self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Slots:
    """At most so many at once for each key: `with slots.slot(key, most):`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._used: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Slots {self._what} used={self._used.total()}>"

    def used(self, key: str) -> int:
        return self._used[key]

    def slot(self, key: str, most: int | None) -> Slot:
        """One more for `key`. Raises Fault `limit_reached` when `most` are in use; None counts without a limit."""
        if most is not None and self._used[key] >= most:
            raise limit_reached(self._what)
        self._used[key] += 1
        return Slot(self, key)

    def give_back(self, key: str) -> None:
        """For slots."""
        self._used[key] -= 1
        if self._used[key] <= 0:
            del self._used[key]


class Rate:
    """At most `per_second` events over time; `burst` of them may come at once."""

    __slots__ = ("_burst", "_level", "_per_second", "_then")

    def __init__(self, per_second: float, *, burst: float | None = None) -> None:
        self._per_second = per_second
        self._burst = max(per_second if burst is None else burst, 1.0)
        self._level = self._burst
        self._then: float | None = None

    def admit(self, now: float) -> bool:
        """Whether one more may happen now."""
        if self._then is not None and now > self._then:
            self._level = min(self._burst, self._level + (now - self._then) * self._per_second)
        self._then = now if self._then is None else max(now, self._then)
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True


class FairBucket(Generic[User]):
    """A rate of bytes, shared by users that ask for credit. A user without credit waits in line with `wait`; `hand_out`
    says who may go on now, each with `credit` more bytes; `next_due` when to come again."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self.credit = int(min(max(per_second / 50, SMALLEST_CREDIT), LARGEST_CREDIT))
        self._cap = max(per_second * BURST_SECONDS, float(self.credit))
        self._level = self._cap
        self._then: float | None = None
        self._line: OrderedDict[User, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<FairBucket {self.per_second:g}/s waiting={len(self._line)}>"

    @property
    def waiting(self) -> int:
        return len(self._line)

    def take(self, now: float) -> int:
        """Credit at once, 0 when there is none or others wait for it."""
        self._refill(now)
        if self._line or self._level < self.credit:
            return 0
        self._level -= self.credit
        return self.credit

    def wait(self, user: User) -> None:
        """Stand in line (once)."""
        self._line[user] = None

    def leave(self, user: User, unused: int) -> None:
        """The user is done: out of the line, and its credit is for others."""
        self._line.pop(user, None)
        self._level = min(self._cap, self._level + unused)

    def hand_out(self, now: float) -> list[User]:
        """Who has waited long enough, in turn; each has `credit` bytes more."""
        self._refill(now)
        served: list[User] = []
        while self._line and self._level >= self.credit:
            self._level -= self.credit
            user, _ = self._line.popitem(last=False)
            served.append(user)
        return served

    def next_due(self) -> float | None:
        """Seconds after the last call with a clock until `hand_out` serves somebody; None when nobody waits."""
        if not self._line:
            return None
        return max(TICK, (self.credit - self._level) / self.per_second)

    def _refill(self, now: float) -> None:
        if self._then is not None and now > self._then:
            self._level = min(self._cap, self._level + (now - self._then) * self.per_second)
        self._then = now if self._then is None else max(now, self._then)
