"""Whom an agent believes to be its server: system roots, a CA file, or a pinned key; and the exception for loopback.

Knows nothing of dialling. `ClientTls` is made once from the configuration; its contexts are reused for every link.
"""

from __future__ import annotations

import hmac
import re
import ssl
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address

from protocol.errors import Blame, ConfigError, LinkError
from protocol.link.hello import LEG_PROTOCOL

_PIN = re.compile(r"(?:sha256[:/])?([0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31})\Z")

Notify = Callable[[str], None]


def fingerprint(certificate: bytes) -> str:
    """The pin of a DER certificate: SHA-256 over its SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), as `sha256:` and 64
    hex digits. The key outlives renewals of the certificate. Raises ValueError for what is no certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    return f"sha256:{sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()}"


def parse_pin(text: str) -> str:
    """A pin as people paste it (`sha256:` in front or not, colons or not) in the form of `fingerprint`. Raises ConfigError."""
    match = _PIN.match(text.strip())
    if match is None:
        hint = "ngrokd prints it when it starts: sha256: and 64 hex digits"
        raise ConfigError("the pin is no SHA-256 fingerprint", hint=hint)
    return "sha256:" + match.group(1).replace(":", "").lower()


def is_loopback(address: str) -> bool:
    """Whether a numeric address (as a socket reports it) is this machine."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


class ClientTls:
    """How links to the server are checked. `ca` is a PEM file, `pin` a fingerprint; with neither, the system's roots.

    With `loopback` a certificate that does not verify is accepted from a server whose connected address is this machine,
    and `notify` is told once. Callers set it only without proxy, ca, pin and token: with any of them there is something
    to lose or a way to check.
    """

    def __init__(self, *, ca: str = "", pin: str = "", loopback: bool = False, notify: Notify | None = None) -> None:
        """Raises ConfigError for a CA file that can't be used and for a bad pin."""
        self._ca = ca
        self.pin = parse_pin(pin) if pin else ""
        self._loopback = loopback and not (ca or pin)
        self._notify = notify
        self._known_lax = False
        if ca:
            _ = self.strict  # a file that can't be read is an error now, not at the first dial

    @cached_property
    def strict(self) -> ssl.SSLContext:
        """Checks chain and name. With a pin the key alone decides: the chain is then not looked at."""
        return self.lax if self.pin else self._checking()

    @cached_property
    def lax(self) -> ssl.SSLContext:
        """Checks nothing by itself: for pins, and for loopback."""
        return _unchecking()

    @cached_property
    def _strict_leg(self) -> ssl.SSLContext:
        return self._lax_leg if self.pin else _for_legs(self._checking())

    @cached_property
    def _lax_leg(self) -> ssl.SSLContext:
        return _for_legs(_unchecking())

    def _checking(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca or None)
        except (OSError, ssl.SSLError) as error:
            bad = isinstance(error, ssl.SSLError) or not error.strerror
            reason = "it holds no certificate in PEM form" if bad else error.strerror
            raise ConfigError(
                f"the CA file {self._ca} can't be used: {reason}", hint="name a PEM file with -ca"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def context_for(self, address: str | None, *, leg: bool = False) -> ssl.SSLContext:
        """The context for a server connected at `address` (None: behind a proxy, or not known). That of a `leg` says so
        in its ClientHello (see `hello`)."""
        if self._known_lax and self._excused(address):
            return self._lax_leg if leg else self.lax
        return self._strict_leg if leg else self.strict

    def excuse(self, address: str | None, reason: str) -> bool:
        """After a failed check: whether the server at `address` may be believed all the same. Tells once."""
        if not self._excused(address):
            return False
        if not self._known_lax:
            self._known_lax = True
            if self._notify is not None:
                self._notify(
                    f"the server's certificate was not verified ({reason}); accepted because the server runs on this machine"
                )
        return True

    def _excused(self, address: str | None) -> bool:
        return self._loopback and address is not None and is_loopback(address)

    def check(self, certificate: bytes | None) -> None:
        """After the handshake: compare the pin, if there is one. Raises LinkError (no retry: the key will not change)."""
        if not self.pin:
            return
        try:
            found = fingerprint(certificate) if certificate else ""
        except ValueError:
            found = ""
        if not hmac.compare_digest(found, self.pin):
            raise LinkError(
                "pin_mismatch",
                "the server's key is not the pinned one",
                blame=Blame.OPERATOR,
                hint=f"if the server was set up anew, its fingerprint is now {found or 'unknown'}; compare it there",
                retry=False,
            )


def _unchecking() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _for_legs(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols([LEG_PROTOCOL])
    return context
