"""Public names: which hosts and subdomains may be asked for, how they are spelled, and the URLs made from them.

Everything that leaves this module is ASCII, lower case, without port and trailing dot, so a name is compared byte by byte
from here on. Knows nothing of who owns a name: that is the registry's and the store's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import idna

from protocol.errors import Blame, Fault

MAX_HOST = 253  # RFC 1035 section 2.3.4, without the trailing dot
WILDCARD = "*."
DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Names under the server's own domain that visitors, mail programs or browsers trust without a person's choice, or that look
# as if the operator spoke. Only the label next to the domain counts: `www.shop` is fine.
_RESERVED_WORDS = """
www www1 www2 admin administrator root ngrok ngrokd ngrokc tunnel tunnels control login auth oauth sso account
accounts dashboard billing support security abuse status hostmaster postmaster webmaster noc
mail email smtp imap pop pop3 mx webmail autoconfig autodiscover wpad isatap
ns ns1 ns2 ns3 ns4 dns ftp localhost localdomain broadcasthost
"""
RESERVED: Final = frozenset(_RESERVED_WORDS.split())


def _bad(message: str, hint: str = "", code: str = "bad_name") -> Fault:
    return Fault(code, message, blame=Blame.OPERATOR, hint=hint)


def normalize_host(text: str) -> str:
    """A host name (no port) in the one spelling we compare: lower case, one trailing dot dropped, other scripts as punycode.

    Raises Fault `bad_name` for anything but dot-separated labels of letters, digits and inner hyphens, at most 63 each and
    253 in all. IPv4 addresses pass, IPv6 literals do not; see `Zone.hostname` for what may be asked for.
    """
    if len(text) > MAX_HOST + 1:  # first: conversion of long text is slow
        raise _bad("the host name is too long")
    host = text.lower() if text.isascii() else _to_ascii(text)
    host = host.removesuffix(".")
    if len(host) > MAX_HOST:
        raise _bad("the host name is too long")
    for label in host.split("."):
        if not _LABEL.fullmatch(label):
            hint = "use a hyphen instead of the underscore" if "_" in label else ""
            raise _bad("a host name has letters, digits and hyphens between its dots, at most 63 each", hint)
    return host


def _to_ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:
        raise _bad("the host name has characters that no domain may have") from None


def is_wildcard(host: str) -> bool:
    """Whether a normalised name stands for all names below it (`*.demo.example.me`)."""
    return host.startswith(WILDCARD)


def wildcards_for(host: str) -> Iterator[str]:
    """The wildcards that cover a normalised host, nearest first: for `a.b.me` `*.b.me`, `*.me`. The host itself is not
    among them: look it up before, so that exact beats wildcard."""
    dot = host.find(".")
    while dot >= 0:
        yield "*" + host[dot:]
        dot = host.find(".", dot + 1)


def covers(pattern: str, host: str) -> bool:
    """Whether a normalised name or wildcard stands for this host. A wildcard covers any depth below it, not its own base."""
    if is_wildcard(pattern):
        return host.endswith(pattern[1:]) and len(host) >= len(pattern)
    return pattern == host


@dataclass(frozen=True, slots=True)
class Zone:
    """What may be asked for on this server. `domain` is its base domain (normalised here); `own` are hosts that the server
    itself answers under (control, admin). Constructing it raises Fault for a domain that is none."""

    domain: str
    reserved: frozenset[str] = RESERVED
    own: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", normalize_host(self.domain))

    def subdomain(self, text: str, *, wildcard: bool = False) -> str:
        """A requested subdomain in its one spelling (`Test ` is `test`; dots are allowed, as in 1.7).

        `wildcard` allows a leading `*`: only for owners of a reservation. Raises Fault `bad_name`, `reserved_name` or
        `lookalike_name`, with a sentence for the person who asked.
        """
        star, rest = _split_wildcard(text.strip())
        if star and not wildcard:
            raise _bad("a wildcard needs a reservation", "ask the server's operator to reserve it")
        if text.strip() == "*":
            return "*"
        name = normalize_host(rest)
        labels = name.split(".")
        if any(label[2:4] == "--" for label in labels):
            message = "names with letters other than a-z are not given out here: they can look like another name"
            raise _bad(message, "choose a name of a-z, 0-9 and single hyphens", "lookalike_name")
        if labels[-1] in self.reserved:
            raise _bad("this name is reserved on every server", "choose another name", "reserved_name")
        if any(_without_tricks(labels[-1], one) in self.reserved for one in "il"):
            raise _bad("this name looks like a reserved one", "choose another name", "lookalike_name")
        if f"{name}.{self.domain}" in self.own:
            raise _bad("this name belongs to the server itself", "choose another name", "reserved_name")
        if len(name) + len(self.domain) + 1 > MAX_HOST - star * len(WILDCARD):
            raise _bad("the name is too long for this server's domain")
        return WILDCARD + name if star else name

    def hostname(self, text: str, *, wildcard: bool = False) -> str:
        """A requested full host name in its one spelling. Below the server's domain the rules of `subdomain` hold; other
        domains may be any valid host name but an address. The bare domain is the server's own. Raises Fault as there."""
        star, rest = _split_wildcard(text.strip())
        host = normalize_host(rest)
        if not star and (host == self.domain or host in self.own):
            raise _bad("this host name belongs to the server itself", "ask for a name below it", "reserved_name")
        if star and host == self.domain:
            return f"{self.subdomain('*', wildcard=wildcard)}.{host}"
        if host.endswith("." + self.domain):
            name = host[: -len(self.domain) - 1]
            return f"{self.subdomain(WILDCARD + name if star else name, wildcard=wildcard)}.{self.domain}"
        if star and not wildcard:
            raise _bad("a wildcard needs a reservation", "ask the server's operator to reserve it")
        if host.rpartition(".")[2] == "localhost":
            raise _bad("this host name belongs to every machine itself", "choose another name", "reserved_name")
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise _bad("a host name cannot be an address", "ask for a subdomain, or leave the name out")
        return WILDCARD + host if star else host


def _split_wildcard(text: str) -> tuple[bool, str]:
    if text == "*":
        return True, ""
    return text.startswith(WILDCARD), text.removeprefix(WILDCARD)


def _without_tricks(label: str, one: str) -> str:
    """The label as a hasty eye reads it; a digit one can pass for an i or an l."""
    return label.replace("rn", "m").replace("vv", "w").replace("0", "o").replace("5", "s").replace("1", one)


@dataclass(frozen=True, slots=True)
class PublicName:
    """Where visitors find a tunnel: the URL to show, and the host (no port) that routes to it; tcp: also the port."""

    url: str
    host: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class PublicUrls:
    """Builds URLs as 1.7 does, but with each protocol's own port. `domain` as the operator gave it; `ports` are the real
    listening ports of `http` and `https` (missing: no such listener); `vhost` is the VHOST variable, "" without."""

    domain: str
    ports: Mapping[str, int]
    vhost: str = ""

    def suffix(self, protocol: str) -> str:
        """What follows a subdomain in URLs: the domain and, unless it is the protocol's own, the port. Raises Fault
        `unsupported_protocol` when there is no such listener."""
        if protocol not in self.ports or protocol not in DEFAULT_PORTS:
            other = next((name for name in sorted(self.ports) if name in DEFAULT_PORTS), "tcp")
            hint = f"ask for {other} alone: -proto={other}, or the tunnel's proto in the configuration file"
            raise _bad(f"this server has no {_printable(protocol)} listener", hint, "unsupported_protocol")
        suffix = self.vhost or f"{self.domain}:{self.ports[protocol]}"
        return suffix.lower().removesuffix(f":{DEFAULT_PORTS[protocol]}")

    def under_domain(self, protocol: str, name: str) -> PublicName:
        """For a subdomain from `Zone.subdomain` or a random name."""
        suffix = self.suffix(protocol)
        return PublicName(f"{protocol}://{name}.{suffix}", f"{name}.{suffix.partition(':')[0]}")

    def at_host(self, protocol: str, host: str, *, with_port: bool) -> PublicName:
        """For a host from `Zone.hostname`: `with_port` with what follows a subdomain's host, so that it can be opened;
        without, it is shown alone, as in 1.7."""
        _, colon, port = self.suffix(protocol).partition(":")
        return PublicName(f"{protocol}://{host}{colon}{port}" if with_port else f"{protocol}://{host}", host)

    def at_port(self, port: int) -> PublicName:
        """For a tcp tunnel: VHOST plays no part, and the domain keeps its spelling."""
        return PublicName(f"tcp://{self.domain}:{port}", self.domain.lower(), port)


def _printable(protocol: str) -> str:
    # What an agent asked for goes back to it and into logs: only if it is a harmless word.
    return protocol if protocol.isascii() and protocol.isalnum() and len(protocol) <= 16 else "such"
