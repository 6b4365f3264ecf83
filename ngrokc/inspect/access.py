"""The inspector's token: 256 random bits for each run, in the URL once, then in a cookie; in a private file for scripts."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from protocol.secret import Secret


class Token:
    """`cookie` is derived from the token, so that neither gives the other away."""

    def __init__(self) -> None:
        text = secrets.token_urlsafe(32)
        self.secret = Secret(text)
        self.cookie = Secret(hmac.new(text.encode(), b"ngrokc inspector cookie", hashlib.sha256).hexdigest())

    def __repr__(self) -> str:
        return "<Token>"

    def write(self, path: Path) -> None:
        """Put it into `path`, readable by its owner alone, replacing what was there at once. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self.secret.reveal() + "\n")
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise

    def remove(self, path: Path) -> None:
        """Delete the file if it is still ours."""
        with contextlib.suppress(OSError):
            if self.secret.matches(path.read_text().strip()):
                path.unlink()
