"""Certificates: made once, renewed in time, the key (and so the pin) kept; pairs of the operator checked."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography import x509

from ngrokd import certs
from ngrokd.certdir import CertificateDirectory
from ngrokd.state import StateDirectory
from protocol.errors import ConfigError

NOW = datetime.now(UTC)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def leaf_of(found: certs.ServerCertificate) -> x509.Certificate:
    return x509.load_pem_x509_certificates(found.certificate.read_bytes())[0]


def shake_hands(found: certs.ServerCertificate, name: str, ca: Path | None = None) -> bytes | None:
    """A real handshake by our CA; gives the leaf, raises SSLError when the client does not accept it."""
    context = ssl.create_default_context(cafile=ca or found.ca)
    server_context = certs.server_context(found)
    near, far = socket.socketpair()
    with near, far:

        def serve() -> None:
            try:
                server_context.wrap_socket(far, server_side=True).close()
            except OSError:
                far.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with context.wrap_socket(near, server_hostname=name) as secure:
                return secure.getpeercert(binary_form=True)
        finally:
            near.close()
            thread.join()


@pytest.mark.parametrize("name", ["example.me", "test.example.me"])
def test_a_client_that_believes_the_ca_accepts_our_names(state: StateDirectory, name: str) -> None:
    assert shake_hands(certs.own(state, "example.me"), name)


# `*.localhost` is in the certificate, but OpenSSL and browsers take no wildcard right below a top-level name
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_loopback_domain_covers_loopback(state: StateDirectory, name: str) -> None:
    assert shake_hands(certs.own(state, "localhost"), name)


def test_other_names_are_not_covered(state: StateDirectory) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(certs.own(state, "example.me"), "example.org")


def test_the_ca_is_good_for_our_names_alone(state: StateDirectory, tmp_path: Path) -> None:
    """Whoever steals the CA's key can't make certificates for other sites that our users would believe."""
    found = certs.own(state, "example.me")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key = serialization.load_pem_private_key(state.file(certs.CA_KEY).read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    assert found.ca is not None
    ca = x509.load_pem_x509_certificate(found.ca.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(1))
        .not_valid_after(NOW + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = tmp_path / "forged.pem"
    pem.write_bytes(
        forged.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pair = certs.ServerCertificate(pem, pem, found.ca, "", NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake_hands(pair, "bank.example")


def test_it_is_made_once(state: StateDirectory) -> None:
    first, second = certs.own(state, "example.me"), certs.own(state, "example.me")
    assert first == second
    assert leaf_of(first).serial_number == leaf_of(second).serial_number


def test_it_is_renewed_in_time_and_keeps_its_key(state: StateDirectory) -> None:
    first = certs.own(state, "example.me")
    old = leaf_of(first)
    almost = certs.own(state, "example.me", now=NOW + certs.LEAF_LIFE - certs.RENEW_BEFORE - timedelta(1))
    assert leaf_of(almost).serial_number == old.serial_number
    later = certs.own(state, "example.me", now=NOW + certs.LEAF_LIFE - certs.RENEW_BEFORE + timedelta(1))
    assert leaf_of(later).serial_number != old.serial_number
    assert later.fingerprint == first.fingerprint
    assert later.expires > first.expires


def test_another_domain_gets_another_certificate_with_the_same_key(state: StateDirectory) -> None:
    first, second = certs.own(state, "example.me"), certs.own(state, "other.me")
    assert first.fingerprint == second.fingerprint
    assert shake_hands(second, "a.other.me")


def test_an_address_can_be_the_domain(state: StateDirectory) -> None:
    found = certs.own(state, "192.0.2.7")
    names = leaf_of(found).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("192.0.2.7"))]


def test_the_fingerprint_is_the_key_of_what_is_served(state: StateDirectory) -> None:
    from protocol.link.trust import fingerprint

    found = certs.own(state, "example.me")
    leaf = shake_hands(found, "example.me")
    assert leaf is not None
    assert fingerprint(leaf) == found.fingerprint


def test_keys_are_private(state: StateDirectory) -> None:
    certs.own(state, "example.me")
    for name in (certs.KEY, certs.CA_KEY):
        assert state.file(name).stat().st_mode & 0o777 == 0o600


def test_a_damaged_certificate_is_made_again_a_damaged_key_is_not(state: StateDirectory) -> None:
    first = certs.own(state, "example.me")
    state.write(certs.CERTIFICATE, b"rubbish")
    assert certs.own(state, "example.me").fingerprint == first.fingerprint
    state.write(certs.KEY, b"rubbish")
    with pytest.raises(ConfigError, match="not a key"):
        certs.own(state, "example.me")


def test_tls_1_1_is_refused(state: StateDirectory) -> None:
    context = certs.server_context(certs.own(state, "example.me"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all("DHE" in cipher["name"] or cipher["name"].startswith("TLS_") for cipher in context.get_ciphers())


# -- the operator's own pair
def test_a_given_pair_is_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("example.me")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    (tmp_path / "crt").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(tmp_path / "ca")
    found = certs.given(tmp_path / "crt", tmp_path / "key")
    assert found is not None
    assert found.ca is None
    assert shake_hands(found, "example.me", tmp_path / "ca")


def test_neither_is_none_and_one_is_an_error(tmp_path: Path) -> None:
    assert certs.given(None, None) is None
    with pytest.raises(ConfigError, match="-tlsCrt is given without -tlsKey"):
        certs.given(tmp_path / "crt", None)
    with pytest.raises(ConfigError, match="-tlsKey is given without -tlsCrt"):
        certs.given(None, tmp_path / "key")


def test_pairs_that_are_none(tmp_path: Path) -> None:
    one, other = trustme.CA().issue_cert("a.me"), trustme.CA().issue_cert("b.me")
    one.private_key_pem.write_to_path(tmp_path / "key")
    other.cert_chain_pems[0].write_to_path(tmp_path / "crt")
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="don't make a pair"):
        certs.given(tmp_path / "crt", tmp_path / "key")
    with pytest.raises(ConfigError, match="no certificate"):
        certs.given(tmp_path / "rubbish", tmp_path / "key")
    with pytest.raises(ConfigError, match="no file"):
        certs.given(tmp_path / "missing", tmp_path / "key")
    with pytest.raises(ConfigError, match="don't make a pair"):
        certs.given(tmp_path / "crt", tmp_path / "rubbish")


def test_a_published_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = trustme.CA().issue_cert("a.me")
    pair.private_key_pem.write_to_path(tmp_path / "a.key")
    pair.cert_chain_pems[0].write_to_path(tmp_path / "a.crt")
    found = certs.given(tmp_path / "a.crt", tmp_path / "a.key")
    assert found is not None
    monkeypatch.setattr(certs, "PUBLISHED", frozenset({found.fingerprint}))
    with pytest.raises(ConfigError, match="was published"):
        certs.given(tmp_path / "a.crt", tmp_path / "a.key")
    with pytest.raises(ConfigError, match="was published"):
        CertificateDirectory(tmp_path, structlog.get_logger()).load(strict=True)


def test_the_own_fingerprint_is_known_before_there_is_a_certificate_and_stays(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    early = certs.own_fingerprint(state)
    assert sorted(path.name for path in tmp_path.iterdir()) == [certs.KEY]
    assert certs.own(state, "example.me").fingerprint == early
    assert certs.own_fingerprint(state) == early
