"""Words of the local socket: the operator's own, and those that are passed on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ngrokd.admin.words import CHANGES, WORDS, Words, means
from protocol.errors import ConfigError, Fault
from tests.kit.adminworld import open_admin


async def test_each_word_is_answered(tmp_path: Path) -> None:
    passed: list[str] = []

    async def others(word: str, given: Mapping[str, Any]) -> str:
        passed.append(word)
        return "there"

    async with open_admin(tmp_path) as world:
        operator = world.server.office.operator
        assert operator is not None
        words = Words(operator, others)
        for word in set(WORDS) - {"kick", "lift", "drain"}:
            await words(word, {})
        assert await words("token_list", {}) == "there"
        assert passed == ["token_list"]
        for word, given, code in (
            ("kick", {"who": "nobody"}, "no_such_session"),
            ("kick", {}, "bad_argument"),
            ("lift", {"id": "client:x"}, "no_such_ban"),
        ):
            with pytest.raises(Fault) as caught:
                await words(word, given)
            assert caught.value.code == code
        with pytest.raises(Fault, match="does not know"):
            await Words(operator)("token_list", {})


async def test_a_broken_configuration_is_told_with_its_place(tmp_path: Path) -> None:
    async with open_admin(tmp_path) as world:
        operator = world.server.office.operator
        assert operator is not None

        def broken() -> Any:
            raise ConfigError("grace: never", file="ngrokd.yml", line=3)

        assert world.server._upkeep is not None
        reloader = world.server._upkeep._reloader
        reloader._sources = dataclasses.replace(reloader._sources, settings=broken)
        with pytest.raises(Fault, match=r"ngrokd\.yml:3: grace: never"):
            await Words(operator)("reload", {})


def test_who_is_meant() -> None:
    row = {
        "id": "s1", "client": "0123abcd", "account": "t1", "address": "192.0.2.7",
        "tunnels": ["http://a.example:8080", "tcp://b.example:2222"],
    }  # fmt: skip
    for who in (
        "s1",
        "0123abcd",
        "t1",
        "192.0.2.7",
        "http://a.example:8080",
        "a.example",
        "a.example:8080",
        "b.example",
    ):
        assert means(who, row)
    for who in ("", "s", "a", "192.0.2", "example"):
        assert not means(who, row)


async def test_changes_of_the_books_are_in_the_audit_log(tmp_path: Path) -> None:
    async def others(_word: str, _given: Mapping[str, Any]) -> dict[str, str]:
        return {"token": "canary"}

    async with open_admin(tmp_path) as world:
        operator = world.server.office.operator
        assert operator is not None
        words = Words(operator, others)
        with capture_logs() as lines:
            for word in CHANGES:
                await words(word, {"name": "alice", "limits": {"max_tunnels": 5}})
            await words("token_list", {})
    audited = [line for line in lines if line.get("audit")]
    assert [line["event"] for line in audited] == list(CHANGES.values())
    assert all((line["by"], line["name"], line["limits"]) == ("local", "alice", "max_tunnels") for line in audited)
    assert "canary" not in str(audited)
