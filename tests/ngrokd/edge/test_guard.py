"""Who asks, how often and how large: forwarded headers are believed from trusted proxies alone; limits at their figure."""

from __future__ import annotations

import pytest
import trio.testing

from ngrokd.edge.guard import SOURCES_MAX, Guard, GuardRules
from ngrokd.policy.addresses import AddressList
from protocol.head import parse_request
from tests.kit.edgeworld import edge_world, read_exactly, read_to_end, read_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOBODY = AddressList(())
TRUSTED = AddressList(["192.0.2.0/24", "2001:db8::/32"])  # the address of the kit's visitors is in it


def get(*fields: str) -> bytes:
    return "\r\n".join(["GET / HTTP/1.1", "Host: one.test", *fields, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("fields", "address", "secure"),
    [
        ([], "192.0.2.7", False),
        (["X-Forwarded-For: 203.0.113.9"], "203.0.113.9", False),
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"], "203.0.113.9", True),
        (["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 192.0.2.8"], "203.0.113.9", False),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9", False),
        (["X-Forwarded-For: 192.0.2.9"], "192.0.2.9", False),
        (["X-Forwarded-For: 203.0.113.9:4711"], "203.0.113.9", False),
        (['X-Forwarded-For: "[2001:db9::1]:80"'], "2001:db9::1", False),
        (["X-Forwarded-For: nonsense"], "192.0.2.7", False),
        (["X-Forwarded-For: 203.0.113.9, nonsense"], "192.0.2.7", False),
        (["X-Forwarded-For: "], "192.0.2.7", False),
        (["X-Forwarded-Proto: gopher"], "192.0.2.7", False),
        (["Forwarded: for=203.0.113.9;proto=https"], "203.0.113.9", True),
        (['Forwarded: for=6.6.6.6, for="[2001:db9::1]:80";by=x'], "2001:db9::1", False),
        (["X-Forwarded-For: 203.0.113.9", "Forwarded: for=6.6.6.6"], "203.0.113.9", False),
    ],
)
def test_the_last_stranger_is_the_visitor(fields: list[str], address: str, secure: bool) -> None:
    guard = Guard(GuardRules(TRUSTED), lambda: 0.0)
    assert guard.origin(parse_request(get(*fields)), "192.0.2.7", secure=False) == (address, secure)


def test_trust() -> None:
    guard = Guard(GuardRules(TRUSTED), lambda: 0.0)
    assert guard.trusts("192.0.2.1")
    assert guard.trusts("::ffff:192.0.2.1")
    assert not guard.trusts("192.0.3.1")
    assert not guard.trusts("")
    assert not Guard(GuardRules(NOBODY, rate=1), lambda: 0.0).trusts("192.0.2.1")


def test_a_rate_at_its_figure_and_one_past_it() -> None:
    now = 0.0
    guard = Guard(GuardRules(NOBODY, rate=5.0), lambda: now)
    request = parse_request(get())
    assert [guard.admit("192.0.2.1", request) for _ in range(10)] == [None] * 10  # two seconds' worth at once
    denial = guard.admit("192.0.2.1", request)
    assert denial is not None
    assert (denial.code, denial.fields) == ("rate_limited", b"Retry-After: 1\r\n")
    assert guard.admit("192.0.2.2", request) is None
    now = 0.2
    assert guard.admit("192.0.2.1", request) is None
    assert guard.admit("192.0.2.1", request) is not None


def test_a_rate_below_one() -> None:
    guard = Guard(GuardRules(NOBODY, rate=0.1), lambda: 0.0)
    assert guard.admit("192.0.2.1", parse_request(get())) is None
    denial = guard.admit("192.0.2.1", parse_request(get()))
    assert denial is not None
    assert denial.fields == b"Retry-After: 10\r\n"


def test_what_is_remembered_is_bounded() -> None:
    guard = Guard(GuardRules(NOBODY, rate=1.0), lambda: 0.0)
    request = parse_request(get())
    for number in range(SOURCES_MAX + 10):
        guard.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", request)
    assert len(guard._buckets) == SOURCES_MAX


class TestInTheLoop:
    async def test_a_trusted_proxy_speaks_for_its_visitors(self) -> None:
        async with edge_world(rules=GuardRules(TRUSTED)) as world:
            world.tunnel("one.test", options={"deny_ips": ["203.0.113.66"]})
            visitor = world.visitor()
            await visitor.send_all(get("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"))
            service = await world.stream()
            head = await read_until(service, b"\r\n\r\n")
            assert b"X-Forwarded-For: 203.0.113.9\r\n" in head
            assert b"X-Forwarded-Proto: https\r\n" in head
            assert world.opener.starts[0].client_addr == "203.0.113.9:0"
            await service.send_all(OK)
            await read_exactly(visitor, len(OK))
            await visitor.send_all(get("X-Forwarded-For: 203.0.113.10"))  # another visitor: another stream
            other = await world.stream()
            assert b"X-Forwarded-For: 203.0.113.10\r\nX-Forwarded-Proto: http\r\n" in await read_until(
                other, b"\r\n\r\n"
            )
            await other.send_all(OK)
            await read_exactly(visitor, len(OK))
            await visitor.send_all(get("X-Forwarded-For: 203.0.113.66"))
            assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 403 ")

    async def test_others_do_not(self) -> None:
        async with edge_world(rules=GuardRules(AddressList(["198.51.100.1"]))) as world:
            world.tunnel("one.test")
            visitor = world.visitor()
            await visitor.send_all(get("X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"))
            head = await read_until(await world.stream(), b"\r\n\r\n")
            assert b"6.6.6.6" not in head
            assert b"X-Forwarded-For: 192.0.2.7\r\n" in head

    async def test_behind_an_https_proxy_the_redirect_is_none(self) -> None:
        async with edge_world(rules=GuardRules(TRUSTED)) as world:
            world.tunnel("one.test", options={"redirect_https": True})
            visitor = world.visitor()
            await visitor.send_all(get("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"))
            await read_until(await world.stream(), b"\r\n\r\n")

    async def test_too_many_requests_are_429(self, autojump_clock: trio.testing.MockClock) -> None:
        async with edge_world(rules=GuardRules(NOBODY, rate=0.5)) as world:
            visitor = world.visitor()
            await visitor.send_all(get())
            assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 404 ")
            visitor = world.visitor()
            await visitor.send_all(get())
            answer = await read_to_end(visitor)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"\r\nRetry-After: 2\r\n" in answer

    @pytest.mark.parametrize("size", [10, 11])
    async def test_a_body_at_the_limit_and_one_past_it(self, size: int) -> None:
        async with edge_world(rules=GuardRules(NOBODY, max_body=10)) as world:
            world.tunnel("one.test")
            visitor = world.visitor()
            await visitor.send_all(get(f"Content-Length: {size}") + b"x" * size)
            if size > 10:
                assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 413 ")
                assert world.no_stream()
            else:
                await read_until(await world.stream(), b"x" * 10)

    async def test_a_chunked_body_past_the_limit(self) -> None:
        async with edge_world(rules=GuardRules(NOBODY, max_body=1000)) as world:
            world.tunnel("one.test")
            visitor = world.visitor()
            await visitor.send_all(get("Transfer-Encoding: chunked") + b"1f4\r\n" + b"x" * 500 + b"\r\n")
            service = await world.stream()
            await read_until(service, b"\r\n\r\n")
            await visitor.send_all(b"1f4\r\n" + b"x" * 500 + b"\r\n")
            assert (await read_to_end(visitor)).startswith(b"HTTP/1.1 413 ")
            with pytest.raises(trio.BrokenResourceError):
                await read_to_end(service)


def test_rules_that_change_under_way() -> None:
    """Who has come through a proxy that is trusted no longer is that proxy from its next request on."""
    guard = Guard(GuardRules(AddressList(["10.0.0.0/8"])), lambda: 0.0)
    proxy = guard.proxy(("10.0.0.1", 5), secure=False)
    assert proxy is not None
    asked = parse_request(get("X-Forwarded-For: 192.0.2.9"))
    assert guard._origin_behind(proxy, asked).address == "192.0.2.9"
    guard.rules = GuardRules(AddressList(["10.0.0.1"]))
    assert guard._origin_behind(proxy, asked).address == "192.0.2.9"
    guard.rules = GuardRules(AddressList([]))
    assert guard._origin_behind(proxy, asked) == ("10.0.0.1", False)
