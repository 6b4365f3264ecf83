"""When the reader of a pipe leaves, as in `URL=$(ngrokc 8080 | head -n 1)`. Knows no lines and no agent.

An agent may have nothing to write for hours, so a failed write comes too late: the shell would wait that long.
"""

from __future__ import annotations

import os
import stat
import sys

import trio


async def reader_left(descriptor: int) -> None:
    """Returns when nobody reads from this pipe any more; never for what is no pipe. The descriptor is borrowed."""
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        await trio.lowlevel.wait_readable(descriptor)  # a writing end has nothing to read but its error
    else:
        await trio.sleep_forever()


def forget(descriptor: int) -> None:
    """What is still written there goes nowhere from now on, without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
