"""What a port raises. Apart from the ports, because mypyc compiles no class that inherits from a built-in exception."""

from __future__ import annotations

import ssl
from typing import Final

# How the alerts end by which a peer says that it does not believe our certificate, as OpenSSL names them.
_DOUBTS: Final = ("_UNKNOWN_CA", "_BAD_CERTIFICATE", "_CERTIFICATE_UNKNOWN", "_CERTIFICATE_EXPIRED")


class PortBroken(ConnectionError):
    """The other side reset the connection, TLS failed, or the port was used after close/abort. The text says which."""


class SinkBroken(PortBroken):
    """For a relay: tells a failed sink from a failed source."""


class TlsError(PortBroken):
    """The handshake or a record failed; the text is OpenSSL's reason in plain words. `doubt`: why the other side's
    certificate was not believed, `doubted`: it was the other side that did not believe ours; empty and False for every
    other failure."""

    def __init__(self, reason: str, *, doubt: str = "", doubted: bool = False) -> None:
        super().__init__(reason)
        self.doubt = doubt
        self.doubted = doubted


def tls_error(what: str, error: ssl.SSLError | OSError) -> TlsError:
    """Of what OpenSSL or the socket said while doing `what`."""
    doubt = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    doubted = isinstance(error, ssl.SSLError) and str(getattr(error, "reason", "")).endswith(_DOUBTS)
    return TlsError(f"{what}: {reason_of(error)}", doubt=doubt, doubted=doubted)


def reason_of(error: ssl.SSLError | OSError) -> str:
    """A short text for people and logs, without OpenSSL's source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and getattr(error, "reason", None):
        return str(error.reason).lower().replace("_", " ")
    return error.strerror or str(error)
