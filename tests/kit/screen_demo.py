"""The terminal screen with a fake agent, as a program for tests in a pseudo-terminal: `python -m tests.kit.screen_demo`."""

from __future__ import annotations

import sys

import trio

from ngrokc.screen import Screen
from protocol.address import Upstream
from tests.kit.inspection import FakeRoute, open_inspection

REQUESTS = [
    (b"GET", b"/", b"200 OK"),
    (b"POST", b"/hook?access_token=sekrit", b"201 Created"),
    (b"GET", b"/missing/" + b"long/" * 40, b"404 Not Found"),
    (b"DELETE", b"/evil\x1b[2J\x1b]0;x\x07\xe2\x80\xae", b"500 Oh\x1b[31mno"),
    (b"GET", "/漢字/ü".encode(), b"302 Found"),
]


async def main(tunnels: int) -> None:
    async with open_inspection() as it:
        it.agent.routes[:] = [
            FakeRoute(Upstream("tcp", "127.0.0.1", 8000 + n), f"t{n}", f"http://t{n}.example.me")
            for n in range(tunnels)
        ]
        for method, path, status in REQUESTS:
            request = method + b" " + path + b" HTTP/1.1\r\nHost: t\r\n\r\n"
            it.send(request, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        async with trio.open_nursery() as nursery:
            await Screen(it.agent, it.inspector, nursery.cancel_scope.cancel).run()
    sys.stdout.write("bye\n")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 2)
