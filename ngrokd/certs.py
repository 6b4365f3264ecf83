"""ngrokd's own certificate authority and certificate, and the pair that an operator gives instead.

Knows nothing of sockets or sessions: it makes and checks PEM files in the state directory. At the first start a key for the
authority and one for the server are made; both stay when certificates are renewed, so the fingerprint (SHA-256 of the
server's public key, what an agent pins) never changes by itself. The authority is constrained to the server's own names:
whoever imports it into a browser trusts it for those and nothing else.

Functions block (key generation, disk): call them before the loop starts or in a worker thread.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ngrokd.state import StateDirectory, read_file
from protocol.errors import ConfigError
from protocol.link import trust
from protocol.link.sni import notice_names

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)  # browsers refuse leaves that live longer
RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(days=1)  # for agents whose clock is behind
PEM_LIMIT = 1 << 20  # a chain is some kilobytes

# Keys that anybody can read, by the fingerprint of their public half: `assets/server/tls/snakeoil.key` of ngrok 1.7.
PUBLISHED: Final = frozenset({"sha256:3faa271577c50075f2848c351dd4d168104b6c4630003ddbfc8738653028aefc"})

CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
CERTIFICATE, KEY = "server.crt", "server.key"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """Where the pair for the listeners lies. `ca` is None for a pair that the operator gave."""

    certificate: Path
    key: Path
    ca: Path | None
    fingerprint: str  # of the public key (SPKI): "sha256:" and 64 hex digits
    expires: datetime


def given(certificate: Path | None, key: Path | None) -> ServerCertificate | None:
    """The pair of `-tlsCrt` and `-tlsKey`, checked; None when neither is given.

    Raises ConfigError when only one is given, a file can't be read, key and certificate don't belong together, or the key is
    one that was published.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing, present = ("-tlsKey", "-tlsCrt") if key is None else ("-tlsCrt", "-tlsKey")
        raise _refused(f"{present} is given without {missing}", "give both, or neither for ngrokd's own certificate")
    chain = _parse_certificate(certificate)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except OSError as error:  # SSLError is one
        raise _refused(
            f"-tlsCrt {certificate} and -tlsKey {key} don't make a pair: {error.strerror or error}",
            "the key must be PEM, without a password, and belong to the first certificate of the file",
        ) from error
    found = ServerCertificate(certificate, key, None, fingerprint(chain), chain.not_valid_after_utc)
    refuse_published(found)
    return found


def refuse_published(certificate: ServerCertificate) -> None:
    """Raises ConfigError when everybody may have this pair's key: it would protect nothing, and look as if it did."""
    if certificate.fingerprint in PUBLISHED:
        raise _refused(
            f"the key {certificate.key} was published with ngrok 1.7: anybody can read what it protects",
            "leave -tlsCrt and -tlsKey out for a key of ngrokd's own, or make one",
        )


def own(state: StateDirectory, domain: str, *, now: datetime | None = None) -> ServerCertificate:
    """ngrokd's own pair for `domain` and `*.domain`, made or renewed when needed. Calling it again is how renewal is done.

    Raises ConfigError when a file in the state directory is not ours, OSError when it can't be written.
    """
    now = now or datetime.now(UTC)
    names = alternative_names(domain)
    ca_key, key = _key(state, CA_KEY), _key(state, KEY)
    ca = _stored(state, CA_CERTIFICATE)
    # the margin covers the leaf: an authority that ends before its leaf would end it early
    if ca is None or not _good_ca(ca, ca_key, names, now + LEAF_LIFE):
        ca = _make_ca(ca_key, domain, names, now)
        state.write(CA_CERTIFICATE, _pem(ca), mode=0o644)
    leaf = _stored(state, CERTIFICATE)
    if leaf is None or not _good_leaf(leaf, key, names, now + RENEW_BEFORE) or not _signed_by(leaf, ca):
        leaf = _make_leaf(key, ca, ca_key, names, now)
        state.write(CERTIFICATE, _pem(leaf) + _pem(ca), mode=0o644)
    paths = state.file(CERTIFICATE), state.file(KEY), state.file(CA_CERTIFICATE)
    return ServerCertificate(*paths, fingerprint(leaf), leaf.not_valid_after_utc)


def own_fingerprint(state: StateDirectory) -> str:
    """The fingerprint of ngrokd's own key, made when there is none; certificates stay as they are. Raises as `own`."""
    public = _key(state, KEY).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return f"sha256:{digest.finalize().hex()}"


def fingerprint(certificate: x509.Certificate) -> str:
    """What an agent pins: the SHA-256 of the certificate's public key (SubjectPublicKeyInfo, RFC 5280 section 4.1.2.7)."""
    return trust.fingerprint(certificate.public_bytes(serialization.Encoding.DER))


def server_context(certificate: ServerCertificate) -> ssl.SSLContext:
    """The TLS context of the listeners: TLS 1.2 and later, forward secrecy only (Mozilla's intermediate level without its
    slow DHE); sessions are resumed by tickets; the names that clients ask for are noticed. Renewed certificates are put
    into it with `load_cert_chain`; handshakes that are under way keep the old one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:!PSK:!SRP")  # TLS 1.2 only; 1.3 has no others
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate.certificate, certificate.key, password=_no_password)
    return notice_names(context)


def alternative_names(domain: str) -> list[x509.GeneralName]:
    """The names a certificate for `domain` covers; the loopback names too when the domain is a loopback one."""
    try:
        return [x509.IPAddress(ipaddress.ip_address(domain.strip("[]")))]
    except ValueError:
        names: list[x509.GeneralName] = [x509.DNSName(domain), x509.DNSName(f"*.{domain}")]
    if domain == "localhost" or domain.endswith(".localhost"):
        if domain != "localhost":
            names.append(x509.DNSName("localhost"))
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    return names


# -- making
def _make_ca(
    key: ec.EllipticCurvePrivateKey, domain: str, names: list[x509.GeneralName], now: datetime
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ngrokd {domain}"[:64])])
    usage = _usage(signs_certificates=True)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(_subtrees(names), _no_addresses(names)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_leaf(
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    now: datetime,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(names[0].value)[:64])]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _subtrees(names: list[x509.GeneralName]) -> list[x509.GeneralName]:
    """Permitted subtrees (RFC 5280 section 4.2.1.10): a DNS name stands for everything below it too."""
    trees: list[x509.GeneralName] = []
    for name in names:
        if isinstance(name, x509.IPAddress):
            trees.append(x509.IPAddress(ipaddress.ip_network(name.value)))
        elif isinstance(name, x509.DNSName) and not name.value.startswith("*."):
            trees.append(name)
    return trees


def _no_addresses(names: list[x509.GeneralName]) -> list[x509.GeneralName] | None:
    """A kind of name without a permitted subtree is unconstrained: without addresses of our own, forbid them all."""
    if any(isinstance(name, x509.IPAddress) for name in names):
        return None
    return [x509.IPAddress(ipaddress.ip_network(net)) for net in ("0.0.0.0/0", "::/0")]


# -- checking what lies in the state directory
def _good_leaf(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], until: datetime
) -> bool:
    try:
        covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_after_utc > until
        and list(covered) == names
    )


def _good_ca(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], until: datetime
) -> bool:
    try:
        trees = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return False
    mine = certificate.public_key() == key.public_key() and certificate.not_valid_after_utc > until
    return mine and list(trees or []) == _subtrees(names)


def _signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - three unrelated classes mean the same no
        return False
    return True


def _key(state: StateDirectory, name: str) -> ec.EllipticCurvePrivateKey:
    """The key in file `name`, made there when it does not exist."""
    data = state.read(name, limit=PEM_LIMIT)
    if data is None:
        fresh = ec.generate_private_key(ec.SECP256R1())  # handshakes cost a twentieth of RSA's
        state.write(name, fresh.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
        return fresh
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise _damaged(state.file(name)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(state.file(name))
    return key


def _stored(state: StateDirectory, name: str) -> x509.Certificate | None:
    """The first certificate in `name`; None when there is none that can be read: it can be made again, a key can't."""
    data = state.read(name, limit=PEM_LIMIT)
    try:
        return x509.load_pem_x509_certificates(data)[0] if data else None
    except (ValueError, IndexError):
        return None


def _parse_certificate(path: Path) -> x509.Certificate:
    data = read_file(path, limit=PEM_LIMIT)
    if data is None:
        raise _refused(f"-tlsCrt: there is no file {path}", "check the path")
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except (ValueError, IndexError) as error:
        raise _refused(
            f"-tlsCrt: {path} holds no certificate in PEM form", "PEM begins with -----BEGIN CERTIFICATE-----"
        ) from error


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _no_password() -> str:
    """OpenSSL would ask on the terminal otherwise; a server has nobody to ask."""
    return ""


def _damaged(path: Path) -> ConfigError:
    return _refused(
        f"{path} is not a key that ngrokd made", "restore it, or move it away: a new one changes the fingerprint"
    )


def _refused(message: str, hint: str) -> ConfigError:
    return ConfigError(message, hint=hint)
