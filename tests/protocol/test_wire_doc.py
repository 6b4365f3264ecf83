"""docs/wire.md is read as a specification: its examples are frames, and it names every message, field, code and number."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from protocol.codec import wire_key
from protocol.frames import FIRST_FRAME_CAP, HEADER, frame
from protocol.messages import CLASSIC, NATIVE, decode, encode
from protocol.session import CAPABILITIES, CLASSIC_AGENT_HEARTBEAT, CLASSIC_SERVER_HEARTBEAT, NATIVE_HEARTBEAT, State
from protocol.strict_json import MAX_DEPTH

TEXT = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
EXAMPLES = [line for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda line: line[9:60])
def test_examples_are_what_we_write(example: str) -> None:
    assert encode(decode(example.encode())).decode() == example
    assert len(frame(decode(example.encode()))) <= FIRST_FRAME_CAP


def test_every_message_has_an_example() -> None:
    assert {type(decode(line.encode())) for line in EXAMPLES} == set(CLASSIC + NATIVE)


def test_golden_frames_of_the_document() -> None:
    golden = re.findall(r"^\| `([0-9a-f]{16})` \| `(\{.*\})` \|$", TEXT, re.MULTILINE)
    assert len(golden) == 3
    for header, body in golden:
        assert frame(decode(body.encode())).hex() == header + body.encode().hex()
        assert len(header) == 2 * HEADER


def test_every_field_is_explained() -> None:
    for cls in CLASSIC:
        name = "Ping, Pong" if cls.__name__ in ("Ping", "Pong") else cls.__name__
        section = re.search(rf"^### {name}\b.*?(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        for entry in fields(cls):
            assert f"`{wire_key(entry.name)}`" in section[0].split("```")[0], (name, entry.name)
    for cls in NATIVE:
        row = re.search(rf"^\| `{cls.__name__}` \|.*$", TEXT, re.MULTILINE)
        assert row is not None, cls
        assert all(f"`{wire_key(entry.name)}`" in row[0] for entry in fields(cls)), cls


def test_words_and_numbers_agree_with_the_code() -> None:
    table = TEXT.partition("## 5.")[2].partition("## 6.")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == CAPABILITIES
    assert all(f"| {state.name} |" in TEXT for state in State)
    assert f"more than {MAX_DEPTH} levels" in TEXT
    assert f"{FIRST_FRAME_CAP:,}".replace(",", " ") in TEXT
    timers = TEXT.partition("## 8.")[2]
    assert f"both every {NATIVE_HEARTBEAT.every:.0f} s" in timers
    assert f"{NATIVE_HEARTBEAT.dead_after:.0f} s without any byte" in timers
    assert f"agent every {CLASSIC_AGENT_HEARTBEAT.every:.0f} s" in timers
    assert f"{CLASSIC_AGENT_HEARTBEAT.dead_after:.0f} s after a Ping without Pong" in timers
    assert f"{CLASSIC_SERVER_HEARTBEAT.dead_after:.0f} s after the last Ping" in timers
