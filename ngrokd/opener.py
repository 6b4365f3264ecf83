"""What a visitor needs from a session: one stream to its agent, and what a session needs from who gives it. Two kinds do:
`pool.LinkPool` (classic proxy links) and `native_links.NativeLinks` (legs, and a few links for tcp). Knows neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from protocol.errors import Blame, Fault
from protocol.link.port import Port
from protocol.messages import StartProxy

if TYPE_CHECKING:
    from ngrokd.tunnel import Tunnel

OPEN_TIMEOUT = (
    10.0  # seconds a visitor waits for its agent; then 504. Longer than any link needs, shorter than patience
)

Ready = Callable[[Port | Fault], None]
Cancel = Callable[[], None]


class Opener(Protocol):
    """Opens streams to one agent. Callbacks only: nothing here waits, and no task is made per visitor."""

    def open(self, start: StartProxy, ready: Ready) -> Cancel:
        """One visitor wants one stream.

        `ready` is called exactly once, maybe before `open` returns: with an attached port on which `start` has been
        written (the callee owns it from then on), or with a Fault: `agent_silent` after OPEN_TIMEOUT seconds,
        `agent_gone` when the session ends first. After calling what is returned, `ready` is not called any more.
        """

    def close(self) -> None:
        """The session is over: who waits gets `agent_gone`, unused links are closed. Streams in use go on. Idempotent."""


class Links(Opener, Protocol):
    """The opener that an agent's own links join."""

    @property
    def heard(self) -> float:
        """The reactor's clock when a byte last came on one that shows the session's life; minus infinity without any."""

    def warm_up(self) -> None:
        """AuthResp has gone out: ask for what should be there before the first visitor."""

    def announced(self, tunnel: Tunnel) -> None:
        """The NewTunnel of `tunnel` has gone out."""

    def offer(self, port: Port) -> None:
        """A new proxy link, attached to the reactor. Owned from now on, and closed where there is no use for it."""


def agent_silent() -> Fault:
    return Fault("agent_silent", "the agent did not open a connection in time", blame=Blame.AGENT, retry=True)


def agent_gone() -> Fault:
    return Fault("agent_gone", "the agent has left", blame=Blame.AGENT, retry=True)
