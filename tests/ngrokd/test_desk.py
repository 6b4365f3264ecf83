"""Commands at the desk: plain data in and out, no secret where none belongs."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ngrokd import certs
from ngrokd.claims import Claims
from ngrokd.desk import Desk, scope_from
from ngrokd.grants import Scope
from ngrokd.ledger import Ledger
from ngrokd.state import StateDirectory
from ngrokd.store.sqlite import DATABASE, open_store
from protocol.errors import Fault
from protocol.names import Zone


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    state = StateDirectory(tmp_path / "state")
    store = await open_store(state.path)
    ledger = Ledger(store, Claims(), Zone("example.me"), certs.own_fingerprint(state), clock=lambda: 1000.0)
    yield Desk(ledger, state, "example.me:4443", running=True)
    await store.aclose()


async def do(desk: Desk, word: str, **given: Any) -> Any:
    answer = await desk.carry_out(word, given)
    assert json.loads(json.dumps(answer)) is not None
    return json.loads(json.dumps(answer))


async def test_the_life_of_a_token(desk: Desk) -> None:
    made = await do(desk, "token_add", name="alice", allow_host="shop", max_bandwidth="1MB/s", expires="1h")
    assert made["token"].startswith(f"nt_{made['id']}_")
    assert (made["server"], made["expires"]) == ("example.me:4443", 4600.0)
    assert made["scope"] == {"allow_hosts": ["shop"], "max_bandwidth": 1_000_000}
    (listed,) = await do(desk, "token_list")
    assert listed["state"] == "active"
    assert not {"token", "digest"} & listed.keys()
    renewed = await do(desk, "token_rotate", name="alice")
    assert renewed["id"] == made["id"]
    assert renewed["token"] != made["token"]
    assert (await do(desk, "token_revoke", name="alice"))["tokens_left"] == 1
    assert (await do(desk, "token_list"))[0]["state"] == "revoked"
    assert (await do(desk, "token_revoke", name="alice", forget=True))["tokens_left"] == 0


async def test_an_expired_token_is_listed_as_such(desk: Desk) -> None:
    await desk.ledger.add_token("old", Scope(), -5.0)
    assert (await do(desk, "token_list"))[0]["state"] == "expired"


async def test_reservations(desk: Desk) -> None:
    await do(desk, "token_add", name="alice")
    assert await do(desk, "reserve", name="shop", **{"for": "alice"}) == {
        "kind": "host", "name": "shop.example.me", "token": "alice"
    }  # fmt: skip
    await do(desk, "reserve", name="2222", **{"for": "alice"})
    await do(desk, "token_revoke", name="alice")
    rows = await do(desk, "reservations")
    assert [(row["name"], row["revoked"]) for row in rows] == [("shop.example.me", True), ("2222", True)]
    assert (await do(desk, "unreserve", name="shop"))["name"] == "shop.example.me"


async def test_a_backup_holds_the_store_and_the_keys(desk: Desk, tmp_path: Path) -> None:
    await do(desk, "token_add", name="alice")
    certs.own(desk.state, "example.me")
    answer = await do(desk, "backup", file=str(tmp_path / "copy.tar"))
    assert answer["bytes"] == (tmp_path / "copy.tar").stat().st_size
    assert (tmp_path / "copy.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "copy.tar") as archive:
        assert sorted(archive.getnames()) == ["ca.crt", "ca.key", DATABASE, "server.crt", "server.key"]
        assert all(entry.mode == 0o600 for entry in archive)
    assert not [path.name for path in desk.state.path.iterdir() if "copy" in path.name]


@pytest.mark.parametrize("file", ["relative.tar", "", "/no/such/directory/copy.tar"])
async def test_a_backup_that_can_t_be(desk: Desk, file: str) -> None:
    with pytest.raises(Fault) as caught:
        await desk.carry_out("backup", {"file": file})
    if file.startswith("/"):
        assert caught.value.message == f"{file}: No such file or directory"
    assert not [path.name for path in desk.state.path.iterdir() if "copy" in path.name]


@pytest.mark.parametrize(
    ("word", "given"),
    [("dance", {}), ("token_add", {}), ("token_add", {"name": 5}), ("token_add", {"name": "a", "max_tunnels": "9"}),
     ("token_revoke", {"name": "nobody"}), ("reserve", {"name": "shop"}), ("token_add", {"name": "a", "expires": "soon"})],
)  # fmt: skip
async def test_bad_requests(desk: Desk, word: str, given: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        await desk.carry_out(word, given)
    assert caught.value.code in ("bad_argument", "no_such_token")


def test_no_limits_are_no_limits() -> None:
    assert scope_from({}) == Scope()


async def test_other_limits(desk: Desk) -> None:
    await do(desk, "token_add", name="alice", max_bandwidth="1MB/s", max_tunnels=2)
    changed = await do(
        desk, "token_set", name="alice", limits={"max_tunnels": 5, "max_bandwidth": None, "lifetime": "1h"}
    )
    assert changed["scope"] == {"max_tunnels": 5}
    assert changed["expires"] == 4600.0
    assert "digest" not in changed
    assert "token" not in changed
    for bad in ({}, None, "x", {"max_tunnels": 0}, {"nonsense": 1}):
        with pytest.raises(Fault) as caught:
            await desk.carry_out("token_set", {"name": "alice", "limits": bad})
        assert caught.value.code == "bad_argument"
