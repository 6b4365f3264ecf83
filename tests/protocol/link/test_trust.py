"""Pins, roots and the loopback exception."""

from pathlib import Path

import pytest
import trustme

from protocol.errors import ConfigError, LinkError
from protocol.link.trust import ClientTls, fingerprint, is_loopback, parse_pin


def der(issued: trustme.LeafCert) -> bytes:
    import ssl

    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_pins_in_every_spelling() -> None:
    digits = "ab" * 32
    colons = ":".join(["AB"] * 32)
    for text in (digits, f"sha256:{digits}", f"sha256/{digits}", f" {digits.upper()} ", colons, f"sha256:{colons}"):
        assert parse_pin(text) == f"sha256:{digits}"
    for text in ("", "ab", digits + "ab", "g" * 64, "md5:" + digits):
        with pytest.raises(ConfigError):
            parse_pin(text)


def test_a_pin_decides_alone() -> None:
    certificate = der(trustme.CA().issue_cert("example.me"))
    tls = ClientTls(pin=fingerprint(certificate))
    assert tls.context_for("192.0.2.1") is tls.lax
    tls.check(certificate)
    for other in (der(trustme.CA().issue_cert("example.me")), b"nonsense", None):
        with pytest.raises(LinkError) as caught:
            tls.check(other)
        assert (caught.value.code, caught.value.retry) == ("pin_mismatch", False)


def test_without_a_pin_any_key_will_do() -> None:
    ClientTls().check(None)


def test_a_ca_file(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    assert ClientTls(ca=str(path)).strict.get_ca_certs()
    path.write_text("nothing")
    for name in (path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match="CA file"):
            ClientTls(ca=str(name))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("x", False),
    ],
)
def test_loopback(address: str, local: bool) -> None:
    assert is_loopback(address) is local


def test_the_exception_for_loopback_tells_once() -> None:
    told: list[str] = []
    tls = ClientTls(loopback=True, notify=told.append)
    assert tls.context_for("127.0.0.1") is tls.strict
    assert not tls.excuse("192.0.2.1", "self-signed")
    assert not tls.excuse(None, "self-signed")
    assert tls.excuse("127.0.0.1", "self-signed")
    assert tls.excuse("::1", "self-signed")
    assert len(told) == 1
    assert tls.context_for("127.0.0.1") is tls.lax
    assert tls.context_for("192.0.2.1") is tls.strict
    assert tls.context_for(None) is tls.strict


def test_no_exception_with_a_pin_or_ca(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    assert not ClientTls(loopback=True, pin="ab" * 32).excuse("127.0.0.1", "x")
    assert not ClientTls(loopback=True, ca=str(path)).excuse("127.0.0.1", "x")


def test_a_file_without_a_certificate_is_told_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing of the kind\n")
    with pytest.raises(ConfigError, match=r"notes.txt can't be used: it holds no certificate in PEM form$"):
        ClientTls(ca=str(path))
