"""How findings are shown, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from ngrokd.check import Finding
from ngrokd.commands.check import check, line
from ngrokd.settings import settings_from


def test_lines() -> None:
    assert line(Finding("dns", "ok", "fine", "never shown")) == "ok    dns           fine"
    assert line(Finding("dns", "fail", "gone", "make one")).splitlines() == [
        "FAIL  dns           gone", "                    -> make one",
    ]  # fmt: skip


def test_json_and_exit_code(tmp_path: Path) -> None:
    values = {
        "http_addr": "127.0.0.1:0", "https_addr": "", "tunnel_addr": "127.0.0.1:0", "state_dir": str(tmp_path / "s"),
    }  # fmt: skip
    result = CliRunner().invoke(check, ["--json"], obj=settings_from(values), standalone_mode=False)
    assert result.return_value == 0
    assert [row["what"] for row in json.loads(result.output)][:2] == ["state", "http"]
    (tmp_path / "page.html").write_text("$nonsense")
    bad = settings_from({**values, "error_pages": str(tmp_path)})
    result = CliRunner().invoke(check, [], obj=bad, standalone_mode=False)
    assert result.return_value == 1
    assert "FAIL  error pages" in result.output
