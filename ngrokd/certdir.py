"""Certificates for visitors by the name they ask for (SNI): the pairs of -certDir, used anew when their files change.

A pair is NAME.crt with NAME.key, NAME.pem with NAME.key, or a directory with fullchain.pem and privkey.pem (as certbot and
lego write them); what it is for stands in the certificate. What fails to load is said in the log and the pair's old
certificate serves on. `load` blocks; `choose` is for callbacks.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import trio
from cryptography import x509

from ngrokd import certs
from ngrokd.certs import ServerCertificate
from protocol.errors import ConfigError
from protocol.link.logs import Log

LOOK_EVERY: Final = 0.5  # seconds; a change is taken when two looks agree on it, so half-copied pairs are left alone
PAIRS_MAX: Final = 10_000

Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One pair in use. `tried`: the files that were looked at last, good or not."""

    context: ssl.SSLContext | None
    names: tuple[str, ...]
    expires: datetime | None
    tried: Signature


class CertificateDirectory:
    """`path` is read by `load`; nothing is kept open."""

    def __init__(self, path: Path, log: Log) -> None:
        self.path = path
        self._log = log
        self._pairs: dict[Path, _Loaded] = {}
        self._by_name: dict[str, ssl.SSLContext] = {}

    # -- for handshakes
    def choose(self, name: str) -> ssl.SSLContext | None:
        """The context for `name` (lower case), None when no pair covers it."""
        found = self._by_name.get(name)
        return found if found is not None else self._by_name.get("*." + name.partition(".")[2])

    @property
    def names(self) -> list[str]:
        """What is covered, wildcards as `*.example.me`."""
        return sorted(self._by_name)

    # -- for the start, SIGHUP and changed files
    def load(self, *, strict: bool = False) -> list[str]:
        """Read what is new (blocking); the pairs that changed, in words. A broken one is logged and its old certificate
        stays; with `strict`, at the start, it is a ConfigError, and so is a directory that can't be read."""
        changed: list[str] = []
        pairs: dict[Path, _Loaded] = {}
        for chain, key in self._files(strict=strict):
            before, tried = self._pairs.get(chain), _signature(chain, key)
            if before is not None and before.tried == tried:
                pairs[chain] = before
                continue
            try:
                pairs[chain] = _load(chain, key, tried)
                changed.append(f"certificate {chain.relative_to(self.path)}")
            except (ConfigError, OSError, ValueError) as error:
                if strict:
                    raise
                self._log.error(
                    "a certificate can't be used; the old one serves on", file=str(chain), reason=str(error)
                )
                pairs[chain] = _Loaded(
                    before.context if before else None, before.names if before else (),
                    before.expires if before else None, tried,
                )  # fmt: skip
        changed += [f"certificate {gone.relative_to(self.path)} is gone" for gone in self._pairs if gone not in pairs]
        self._pairs, self._by_name = pairs, _index(pairs)
        return changed

    async def reload(self) -> list[str]:
        """`load` in a worker thread, for SIGHUP; what changed goes to the log too."""
        changed = await trio.to_thread.run_sync(self.load)
        if changed:
            self._log.info("certificates of visitors read again", changed=", ".join(changed))
        return changed

    async def watch(self) -> None:
        """Reload when files are not those that were loaded, for ever."""
        before: list[tuple[Path, Signature]] | None = None
        while True:
            await trio.sleep(LOOK_EVERY)
            found = await trio.to_thread.run_sync(self._state)
            if found == before and found != [(chain, pair.tried) for chain, pair in self._pairs.items()]:
                await self.reload()
            before = found

    def _state(self) -> list[tuple[Path, Signature]]:
        return [(chain, _signature(chain, key)) for chain, key in self._files(strict=False)]

    def _files(self, *, strict: bool) -> list[tuple[Path, Path]]:
        try:
            return sorted(_pairs_in(self.path))[:PAIRS_MAX]
        except OSError as error:
            if strict:
                raise ConfigError(
                    f"-certDir: {self.path} can't be read: {error.strerror or error}", hint="name a directory"
                ) from error
            return [(chain, chain) for chain in self._pairs]  # the directory is away: all stays as it was


def _pairs_in(directory: Path) -> Iterator[tuple[Path, Path]]:
    """Chains and keys. A chain without its key (lego's NAME.issuer.crt) is none of ours."""
    for path in directory.iterdir():
        if path.is_dir():
            chain, key = path / "fullchain.pem", path / "privkey.pem"
        elif path.suffix in (".crt", ".pem"):
            chain, key = path, path.with_suffix(".key")
        else:
            continue
        if chain.is_file() and key.is_file():
            yield chain, key


def _signature(*paths: Path) -> Signature:
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)


def _load(chain: Path, key: Path, tried: Signature) -> _Loaded:
    """Raises ConfigError, OSError, ValueError."""
    certificate = x509.load_pem_x509_certificates(chain.read_bytes())[0]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise ConfigError(f"{chain} names no host (subjectAltName)", hint="browsers would not believe it") from None
    names = tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))
    expires = certificate.not_valid_after_utc
    pair = ServerCertificate(chain, key, None, certs.fingerprint(certificate), expires)
    certs.refuse_published(pair)
    try:
        context = certs.server_context(pair)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{chain} and {key} don't make a pair: {error.reason or error}",
            hint="the key must be PEM, without a password, and belong to the first certificate of the file",
        ) from error
    return _Loaded(context, names, expires, tried)


def _index(pairs: dict[Path, _Loaded]) -> dict[str, ssl.SSLContext]:
    """By name; of two that cover a name the one that lives longer."""
    found: dict[str, ssl.SSLContext] = {}
    usable = [one for one in pairs.values() if one.context is not None and one.expires is not None]
    for one in sorted(usable, key=lambda one: one.expires or datetime.min):
        for name in one.names:
            if one.context is not None:
                found[name] = one.context
    return found
