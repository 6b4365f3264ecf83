"""The one answer that a 1.7 agent writes itself: its 502 page, whose head ends its lines with bare line feeds.

Our reading of heads refuses those from anybody, for good reasons; this page is let through, and as a proper head. Pure.
"""

from __future__ import annotations

from typing import Final

OLD_PAGE: Final = b"HTTP/1.0 502 Bad Gateway\nContent-Type: text/html\nContent-Length: "


def mend(data: bytes) -> bytes:
    """`data`, which begins with OLD_PAGE, with the lines of its head ended as HTTP has it. 1.7 writes the page in one piece;
    what is not a whole head is returned as it is, and refused."""
    end = data.find(b"\n\n")
    if end < 0:
        return data
    return data[:end].replace(b"\n", b"\r\n") + b"\r\n\r\n" + data[end + 2 :]
