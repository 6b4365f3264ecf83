"""What is wrong before users are told so: the findings of `ngrokd check`. Looks at this machine and at DNS, changes nothing
but a file in the state directory that is gone again. Blocks; each look has a bound of its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509

from ngrokd import certs
from ngrokd.edge.pages import Pages
from ngrokd.listening import cannot_listen
from ngrokd.local import SOCKET
from ngrokd.settings import Settings
from ngrokd.state import StateDirectory, default_directory
from protocol.address import HostPort
from protocol.errors import Fault
from protocol.link.listener import bind

DESCRIPTORS: Final = 4096  # two for each visitor and some for the rest
FREE_BYTES: Final = 64 << 20
EXPIRES_SOON: Final = timedelta(days=14)
OLDEST: Final = 1_767_225_600.0  # 2026: an earlier clock was never set
FUTURE: Final = 120.0  # seconds that a file of ours may lie ahead of the clock
DNS_SLOW: Final = 2.0  # seconds
ASKING: Final = 2.0  # seconds for the running server's answer
MAX_ANSWER: Final = 1 << 20  # bytes of it: numbers, no lists

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`hint` says what to do when it is not ok."""

    what: str
    state: State
    text: str
    hint: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """One after the other, as they are found."""
    if settings.config is not None:
        yield Finding("configuration", "ok", f"{settings.config} makes sense")
    path = settings.state_dir or default_directory(os.environ, root=os.geteuid() == 0)
    yield from _guard("state", lambda: _state(path))
    running = _listeners(path)
    for name, address in (
        ("http", settings.http_addr), ("https", settings.https_addr), ("tunnel", settings.tunnel_addr),
        ("admin", settings.admin_addr),
    ):  # fmt: skip
        if address is not None:
            yield _port(name, address, running)
    yield from _guard("dns", lambda: _dns(settings))
    yield from _guard("certificate", lambda: _certificate(settings, path))
    yield from _guard("error pages", lambda: _pages(settings))
    yield from _logs(settings)
    yield _clock(path)
    yield _descriptors()
    yield from _openness(settings)


def _guard(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What raises is a finding too."""
    try:
        yield from look()
    except Fault as fault:
        yield Finding(what, "fail", fault.message, fault.hint)
    except OSError as error:
        yield Finding(what, "fail", f"{error.filename or what}: {error.strerror or error}", "look at its permissions")


def _state(path: Path) -> Iterator[Finding]:
    if not path.exists():
        parent = next(above for above in path.parents if above.exists())
        if os.access(parent, os.W_OK):
            yield Finding("state", "ok", f"{path} will be made at the first start")
        else:
            yield Finding("state", "fail", f"{path} can't be made", "name another with -stateDir")
        return
    state = StateDirectory(path)
    probe = state.write(f".check-{secrets.token_hex(4)}", b"ngrokd check\n")
    probe.unlink()
    free = shutil.disk_usage(path).free
    if free < FREE_BYTES:
        yield Finding(
            "state", "warn", f"{path} has {free >> 20} MiB left", "make room: tokens and names are kept there"
        )
    else:
        yield Finding("state", "ok", f"{path} can be written, {free >> 20} MiB free")


def _listeners(path: Path) -> Mapping[str, Sequence[str]]:
    """What the server that uses this state directory now listens at, by name; nothing when there is none."""
    answer = b""
    with contextlib.suppress(OSError, ValueError, LookupError), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(ASKING)
        sock.connect(str(path / SOCKET))
        sock.sendall(b'{"do": "status", "with": {}}\n')
        while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER and (data := sock.recv(1 << 16)):
            answer += data
        found = json.loads(answer)["ok"]["listeners"]
        return {str(name): [str(place) for place in places] for name, places in found.items()}
    return {}


def _port(name: str, address: HostPort, running: Mapping[str, Sequence[str]]) -> Finding:
    try:
        bind(address.host, address.port).close()
    except OSError as error:
        ours = any(place.rpartition(":")[2] == str(address.port) for place in running.get(name, ()))
        if error.errno == errno.EADDRINUSE and ours:
            return Finding(name, "ok", f"{address} is in use by the ngrokd that runs")
        fault = cannot_listen(error, address, f"{name}Addr")
        return Finding(name, "fail", fault.message, fault.hint)
    return Finding(name, "ok", f"{address} is free")


def _dns(settings: Settings) -> Iterator[Finding]:
    domain = settings.domain
    if domain == "localhost" or domain.endswith(".localhost") or domain.replace(".", "").isdigit():
        yield Finding("dns", "ok", f"{domain} needs no entry")
        return
    name = f"check-{secrets.token_hex(4)}.{domain}"
    began = time.monotonic()
    base, wild = _addresses(domain), _addresses(name)
    seconds = time.monotonic() - began
    if not base:
        yield Finding("dns", "fail", f"{domain} has no address", f"make an A (or AAAA) record for {domain}")
    elif not wild:
        yield Finding(
            "dns", "fail", f"names below {domain} have no address", f"make a wildcard record: *.{domain} -> {min(base)}"
        )
    elif not wild & base:
        yield Finding(
            "dns", "warn", f"{domain} is {min(base)}, *.{domain} is {min(wild)}", "point both to this machine"
        )
    elif seconds > DNS_SLOW:
        yield Finding("dns", "warn", f"the answer took {seconds:.1f} s", "look at /etc/resolv.conf")
    else:
        yield Finding("dns", "ok", f"{domain} and *.{domain} are {', '.join(sorted(wild))}")


def _addresses(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _certificate(settings: Settings, path: Path) -> Iterator[Finding]:
    found = certs.given(settings.tls_crt, settings.tls_key)
    if found is None:
        made = (path / certs.CERTIFICATE).exists()
        text = "ngrokd's own" if made else "ngrokd makes its own at the first start"
        yield Finding("certificate", "ok", f"{text}; visitors' browsers don't know it, agents are given its pin")
        return
    leaf = x509.load_pem_x509_certificates(found.certificate.read_bytes())[0]
    now = datetime.now(UTC)
    if leaf.not_valid_before_utc > now:
        yield Finding("certificate", "fail", f"valid only from {leaf.not_valid_before_utc:%Y-%m-%d}", "set the clock")
    elif found.expires <= now:
        yield Finding("certificate", "fail", f"ended on {found.expires:%Y-%m-%d}", "renew it")
    elif found.expires - now < EXPIRES_SOON:
        yield Finding(
            "certificate",
            "warn",
            f"ends on {found.expires:%Y-%m-%d}",
            "renew it; the new files are taken by themselves",
        )
    else:
        yield Finding("certificate", "ok", f"valid until {found.expires:%Y-%m-%d}")
    names = _names(leaf)
    missing = [name for name in (settings.domain, f"*.{settings.domain}") if name not in names]
    if missing:
        hint = f"get one for {settings.domain} and *.{settings.domain}"
        yield Finding("certificate", "warn", f"does not cover {' and '.join(missing)}", hint)
    if settings.tls_key is not None and settings.tls_key.stat().st_mode & 0o077:
        yield Finding("certificate", "warn", f"others may read {settings.tls_key}", f"chmod 600 {settings.tls_key}")


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return found.get_values_for_type(x509.DNSName)


def _pages(settings: Settings) -> Iterator[Finding]:
    if settings.error_pages is not None:
        Pages(settings.error_pages)
        yield Finding("error pages", "ok", f"the templates in {settings.error_pages} can be used")


def _logs(settings: Settings) -> Iterator[Finding]:
    """Makes no file: it would be that of who checks, not of who serves."""
    for flag, target in (("log", settings.log), ("accessLog", settings.access_log), ("auditLog", settings.audit_log)):
        if target in ("", "stdout", "none"):
            continue
        path = Path(target)
        if os.access(path if path.exists() else path.absolute().parent, os.W_OK) and not path.is_dir():
            yield Finding("logs", "ok", f"{path} can be written")
        else:
            yield Finding(
                "logs", "fail", f"{path} can't be written", f"name another with -{flag}, or make its directory"
            )


def _clock(path: Path) -> Finding:
    now = time.time()
    newest = max((file.stat().st_mtime for file in path.glob("*")), default=0.0) if path.exists() else 0.0
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now < OLDEST:
        return Finding("clock", "fail", f"it is {shown}", "set it, and run an NTP client")
    if newest > now + FUTURE:
        return Finding("clock", "warn", f"it is {shown}, but files of ours are newer", "run an NTP client")
    return Finding("clock", "ok", shown)


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        hint = "LimitNOFILE=65536 in the service file, or ulimit -n"
        return Finding("descriptors", "warn", f"{hard} at most: about {max(0, hard // 2 - 50)} visitors", hint)
    return Finding(
        "descriptors", "ok", f"{soft} now, {'any number' if hard == resource.RLIM_INFINITY else hard} at most"
    )


def _openness(settings: Settings) -> Iterator[Finding]:
    if settings.open:
        yield Finding(
            "access", "warn", "-open lets anybody publish below your domain", "make tokens: ngrokd token add NAME"
        )
