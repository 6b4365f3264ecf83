"""docs/security-tests.md names tests that exist, for every line that it has to speak of."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "security-tests.md"
LINES = [
    *(f"D-V{number}" for number in range(1, 13)),
    *(f"D-{actor}{number}" for actor in "LM" for number in range(1, 5)),
    *(f"D-N{number}" for number in range(1, 4)),
]


def rows() -> dict[str, list[str]]:
    found = re.findall(r"^\| (D-\w+) \| .+? \| (.+) \|$", DOC.read_text("utf-8"), re.MULTILINE)
    return {line: re.findall(r"`([^`]+)`", tests) for line, tests in found}


def test_every_line_has_its_tests() -> None:
    assert list(rows()) == LINES
    assert all(rows().values())


def test_the_tests_exist() -> None:
    missing = []
    for name in {name for tests in rows().values() for name in tests}:
        path, _, function = name.partition("::")
        file = ROOT / path
        text = file.read_text("utf-8") if file.is_file() else ""
        if not re.search(rf"^ *(async )?def {function or 'test_'}", text, re.MULTILINE):
            missing.append(name)
    assert not missing
