"""What comes in at the API: checked, or refused with words for the caller."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from ngrokd.admin import wishes
from ngrokd.admin.wishes import ban_wish, body, name_in_path, reservation_wish, token_wish
from ngrokd.store.records import Name
from protocol.errors import Fault


def request(*parts: bytes) -> Request:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_bodies() -> None:
    assert await body(request(), ("a",)) == {}
    assert await body(request(b'{"a"', b": 1}"), ("a",)) == {"a": 1}
    for bad in (b"[]", b"{", b'{"b": 1}', b'{"a": NaN}', b"[" * 5000, b"\xff"):
        with pytest.raises(Fault) as caught:
            await body(request(bad), ("a",))
        assert caught.value.code == "bad_argument"
    with pytest.raises(Fault) as caught:
        await body(request(b"x" * wishes.BODY_CAP, b"x"), ())
    assert caught.value.code == "body_too_large"


@pytest.mark.parametrize(
    "bad", [{"seconds": -1}, {"seconds": True}, {"seconds": "1"}, {"seconds": 1e12}, {"ban": "ip"}, {"ban": []}]
)
def test_bans_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        ban_wish(bad)


def test_bans() -> None:
    assert ban_wish({}) == (0.0, "client")
    assert ban_wish({"seconds": 60, "ban": "token"}) == (60.0, "token")


def test_tokens() -> None:
    wish = token_wish(
        {"name": "a", "lifetime": "2d", "allow_ports": "2000-2010", "max_bandwidth": "1MB/s", "max_requests": 5}
    )
    assert wish.lifetime == 172800.0
    assert wish.scope.allow_ports == ((2000, 2010),)
    assert wish.scope.max_bandwidth == 1_000_000
    for bad in ({}, {"name": 1}, {"name": "a", "max_tunnels": True}, {"name": "a", "lifetime": 5}, {"name": "a/b"}):
        with pytest.raises(Fault) as caught:
            token_wish(bad)
        assert caught.value.message.partition(":")[0] in ("name", "max_tunnels", "lifetime")


def test_names() -> None:
    assert name_in_path("host", "Shop.Example.ME.") == Name("host", "shop.example.me")
    assert name_in_path("host", "*.dev.example.me") == Name("host", "*.dev.example.me")
    assert name_in_path("port", "2222") == Name("port", "2222")
    for kind, text in (("port", "x"), ("host", ""), ("host", "a b"), ("file", "x")):
        with pytest.raises(Fault):
            name_in_path(kind, text)
    assert reservation_wish({"name": "a.example", "token": "t"}) == (Name("host", "a.example"), "t")
    with pytest.raises(Fault):
        reservation_wish({"name": "a.example"})
