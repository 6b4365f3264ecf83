"""The live list: one WebSocket per page, changes in batches. A page that stalls costs itself updates, nothing else.

Down: `{"type": "list", "rows": [...], "counts": {...}}` once and after each new filter; `{"type": "changes", "rows", "gone",
"cleared", "dropped", "counts"}` ten times a second at most; `{"type": "session", ...}` each second. Up: `{"q": "filter"}`.
"""

from __future__ import annotations

import json
from typing import Any, Final

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from ngrokc.inspect.model import Exchange
from ngrokc.inspect.query import Term, matches, parse
from ngrokc.inspect.store import Entry, Feed
from ngrokc.inspect.web.desk import Desk, desk_of
from ngrokc.inspect.web.exchanges import counts, session_json
from ngrokc.inspect.web.rows import row

BATCH: Final = 0.1  # seconds between two batches: faster is not seen, only paid for
BATCH_ROWS: Final = 200
SESSION: Final = 1.0
FIRST: Final = 1000
QUERY_CAP: Final = 500
PAGES: Final = 20


class Live:
    """One page."""

    def __init__(self, socket: WebSocket, desk: Desk) -> None:
        self._socket = socket
        self._desk = desk
        self._terms: list[Term] = []
        self._woken = trio.Event()
        self._sending = trio.Lock()

    async def run(self) -> None:
        await self._socket.accept()
        with self._desk.store.feed(self._wake) as feed:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sessions)
                nursery.start_soon(self._changes, feed)
                await self._filters()
                nursery.cancel_scope.cancel()

    def _wake(self) -> None:
        self._woken.set()

    async def _filters(self) -> None:
        """Until the page goes."""
        await self._send_list()
        while True:
            try:
                asked = json.loads(await self._socket.receive_text())
            except (WebSocketDisconnect, KeyError):
                return
            except (ValueError, RecursionError):
                continue
            query = asked.get("q") if isinstance(asked, dict) else None
            if isinstance(query, str):
                self._terms = parse(query[:QUERY_CAP])
                await self._send_list()

    async def _send_list(self) -> None:
        rows: list[dict[str, Any]] = []
        for entry in self._desk.store.newest():
            if len(rows) >= FIRST:
                break
            if self._fits(entry):
                rows.append(row(entry))
        await self._send({"type": "list", "rows": rows, "counts": counts(self._desk)})

    async def _changes(self, feed: Feed) -> None:
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            ids = feed.take()
            store = self._desk.store
            entries = [entry for id_ in ids if (entry := store.get(id_)) is not None]
            dropped = max(0, len(entries) - BATCH_ROWS)
            gone, feed.gone = feed.gone, []
            cleared, feed.cleared = feed.cleared, False
            rows = []
            for entry in entries[-BATCH_ROWS:]:
                if self._fits(entry):
                    rows.append(row(entry))
                else:
                    gone.append(entry.id)
            await self._send({
                "type": "changes",
                "rows": rows,
                "gone": gone[-2000:],
                "cleared": cleared,
                "dropped": dropped + feed.dropped,
                "counts": counts(self._desk),
            })  # fmt: skip
            feed.dropped = 0
            await trio.sleep(BATCH)

    async def _sessions(self) -> None:
        while True:
            await self._send({"type": "session", **session_json(self._desk)})
            await trio.sleep(SESSION)

    def _fits(self, entry: Entry) -> bool:
        return not self._terms or (isinstance(entry, Exchange) and matches(entry, self._terms))

    async def _send(self, value: dict[str, Any]) -> None:
        async with self._sending:
            await self._socket.send_text(json.dumps(value, ensure_ascii=True))


async def live(socket: WebSocket) -> None:
    """WebSocket /api/live"""
    await Live(socket, desk_of(socket)).run()
