"""The bus never waits, drops the oldest for a slow reader and counts them."""

import trio
import trio.testing

from ngrokc.events import EventBus, Latency, Notice, StateChanged


async def test_every_subscriber_gets_every_event() -> None:
    bus = EventBus()
    with bus.subscribe() as one, bus.subscribe() as two:
        bus.publish(Latency(0.1))
        bus.publish(Notice("info", "hello"))
        assert [await one.__anext__(), await one.__anext__()] == [Latency(0.1), Notice("info", "hello")]
        assert await two.__anext__() == Latency(0.1)
        assert two.take() == Notice("info", "hello")
        assert two.take() is None


async def test_a_slow_reader_loses_the_oldest() -> None:
    bus = EventBus()
    with bus.subscribe(cap=3) as slow:
        for number in range(10):
            bus.publish(Latency(number))
        assert slow.dropped == 7
        assert [slow.take() for _ in range(3)] == [Latency(7), Latency(8), Latency(9)]


async def test_a_waiting_reader_wakes() -> None:
    bus = EventBus()
    seen: list[object] = []

    async def read() -> None:
        with bus.subscribe() as events:
            async for event in events:
                seen.append(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert bus.heard
        bus.publish(StateChanged("online"))
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [StateChanged("online")]
        bus.close()
    assert not bus.heard


def test_nobody_listens() -> None:
    bus = EventBus()
    assert not bus.heard
    bus.publish(Latency(1))
    assert repr(bus) == "<EventBus 0 subscribers>"
