from __future__ import annotations

from pathlib import Path

import pytest

from ngrokc.inspect.access import Token


def test_written_privately_and_removed_when_still_ours(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    token = Token()
    token.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() == token.secret.reveal()
    other = Token()
    other.write(path)
    token.remove(path)
    assert path.exists()
    other.remove(path)
    assert list((tmp_path / "deep").iterdir()) == []


def test_token_and_cookie_give_nothing_away() -> None:
    token = Token()
    assert len(token.secret.reveal()) >= 43
    assert token.secret.reveal() not in token.cookie.reveal()
    assert token.secret.reveal() not in repr(token)
    assert not token.secret.matches(Token().secret)


def test_no_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(OSError, match="directory"):
        Token().write(tmp_path / "token")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
