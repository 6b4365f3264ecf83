"""The errors of ports: plain words, and what an owner may ask them."""

from __future__ import annotations

import ssl

from protocol.link.faults import PortBroken, SinkBroken, TlsError, reason_of, tls_error


def test_reasons_are_plain_words() -> None:
    assert reason_of(OSError(111, "Connection refused")) == "Connection refused"
    no_reason = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version")
    assert reason_of(no_reason) == "[SSL: WRONG_VERSION_NUMBER] wrong version"
    no_reason.reason = "WRONG_VERSION_NUMBER"
    assert reason_of(no_reason) == "wrong version number"


def test_a_certificate_that_is_not_believed_says_why() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    error = tls_error("TLS handshake", refused)
    assert str(error) == "TLS handshake: certificate not accepted: self-signed certificate"
    assert error.doubt == "self-signed certificate"


def test_other_tls_failures_are_no_doubt_about_the_certificate() -> None:
    error = tls_error("read", OSError(104, "Connection reset by peer"))
    assert str(error) == "read: Connection reset by peer"
    assert not error.doubt
    assert not error.doubted


def test_an_alert_about_our_own_certificate_is_told_from_others() -> None:
    alert = ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca")
    alert.reason = "TLSV1_ALERT_UNKNOWN_CA"
    assert tls_error("TLS handshake", alert).doubted
    alert.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    assert not tls_error("TLS handshake", alert).doubted


def test_owners_of_ports_need_to_know_one_kind_only() -> None:
    assert issubclass(TlsError, PortBroken)
    assert issubclass(SinkBroken, PortBroken)
    assert issubclass(PortBroken, ConnectionError)
