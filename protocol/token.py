"""The text of a token: what an operator hands out once, and what both programs read from it.

    nt_<id>_<secret>_<pin>        nt_k3v9x2mqpd_8Hq...26 characters..._47DEQpj8HBSa-_TIm...43 characters

`id` is public: the server looks the token up by it, lists show it. `secret` proves it (154 bits); the server keeps only a
hash. `pin` is the fingerprint of the server's key, so that a client that has the token needs nothing else to know its
server; it is left out where the certificate is the operator's own, whose key may change. All of it is `[A-Za-z0-9_-]`: it
passes shells, YAML and 1.7's configuration as it is. Pure: knows no store and no TLS.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass

from protocol.secret import Secret

PREFIX = "nt"
ID_LENGTH = 10
SECRET_LENGTH = 26  # of 62 letters: 154 bits
PIN_LENGTH = 43  # 32 bytes as base64url without padding
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, 1, o, 0: ids are read aloud
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ID = re.compile(rf"[a-z0-9]{{{ID_LENGTH}}}")
_TEXT = re.compile(
    rf"{PREFIX}_([a-z0-9]{{{ID_LENGTH}}})_([A-Za-z0-9]{{{SECRET_LENGTH}}})(?:_([A-Za-z0-9_-]{{{PIN_LENGTH}}}))?"
)
_FINGERPRINT = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Token:
    """A token in its parts. `pin` is a fingerprint as `sha256:` and 64 hex digits, "" without."""

    id: str
    secret: Secret
    pin: str = ""

    def text(self) -> Secret:
        """The whole text, for the one place that shows it."""
        parts = [PREFIX, self.id, self.secret.reveal()]
        return Secret("_".join([*parts, _pin_text(self.pin)] if self.pin else parts))


def new_token(pin: str = "", *, token_id: str = "") -> Token:
    """A fresh token for a server with this fingerprint. `token_id` keeps the id of an older one (rotation). Raises
    ValueError for what is no fingerprint or id."""
    if token_id and not _ID.fullmatch(token_id):
        raise ValueError("not the id of a token")
    if pin and not _FINGERPRINT.fullmatch(pin):
        raise ValueError("not a fingerprint")
    chosen = token_id or "".join(secrets.choice(_ID_LETTERS) for _ in range(ID_LENGTH))
    return Token(chosen, Secret("".join(secrets.choice(_ALPHABET) for _ in range(SECRET_LENGTH))), pin)


def parse_token(text: str) -> Token | None:
    """The parts of a token of ours; None for any other text (a 1.7 server may want anything for a token)."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    pin = match.group(3)
    if pin is None:
        return Token(match.group(1), Secret(match.group(2)))
    raw = base64.urlsafe_b64decode(pin + "=")
    fingerprint = f"sha256:{raw.hex()}"
    if _pin_text(fingerprint) != pin:  # bits behind the end: another text for the same bytes
        return None
    return Token(match.group(1), Secret(match.group(2)), fingerprint)


def _pin_text(fingerprint: str) -> str:
    raw = bytes.fromhex(fingerprint.removeprefix("sha256:"))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
