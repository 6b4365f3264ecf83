"""The policy of one tunnel, compiled from `ReqTunnel.HttpAuth` and `.Options` when it is declared.

All is decided on the one parsed head that routing and framing use. Pure: no IO and no clock of its own.
Knows nothing of connections, pages or how options are written in a config file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ngrokd.policy.addresses import NETWORKS_MAX, AddressList, parse_address, source_of
from ngrokd.policy.denial import Denial
from ngrokd.policy.edits import Edits, bad_option, compile_edits, shown
from ngrokd.policy.login import BasicLogin, Throttle
from protocol.authority import host_of
from protocol.errors import Blame, Fault

if TYPE_CHECKING:
    from protocol.head import RequestHead, ResponseHead

_FORBIDDEN: Final = Denial("forbidden")
_UNAUTHORIZED: Final = Denial("unauthorized")
_LOCATION: Final = re.compile(rb"[^!-\x7e]")  # what may not stand in a Location as it is
_ON_CONFLICT: Final = ("fail", "takeover", "random")
_NOTHING: Final = Edits()
_NO_ADDRESSES: Final = AddressList(())


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts of a policy; the defaults ask for nothing. `https_port` is where the https edge is reached."""

    login: BasicLogin | None = None
    throttle: Throttle | None = None
    allowed: AddressList = _NO_ADDRESSES
    denied: AddressList = _NO_ADDRESSES
    request: Edits = _NOTHING
    response: Edits = _NOTHING
    redirect_https: bool = False
    https_port: int = 443


class Policy:
    """Asked for each request and connection of its tunnel. `trivial`: nothing is checked or changed, no need to ask."""

    __slots__ = ("_parts", "_restricted", "trivial")

    def __init__(self, parts: Settings) -> None:
        self._parts = parts
        self._restricted = bool(parts.allowed or parts.denied)
        self.trivial = not (
            parts.login or self._restricted or parts.request or parts.response or parts.redirect_https
        )  # fmt: skip

    @classmethod
    def compile(
        cls,
        http_auth: str,
        options: Mapping[str, object] | None = None,
        *,
        clock: Callable[[], float] | None = None,
        https_port: int = 443,
    ) -> Policy:
        """The policy for a tunnel. `clock` gives seconds for the brake on guessing passwords; without it there is none.

        Raises Fault for the agent's user: "unknown_option" with the option's name (an option is never dropped in
        silence), "bad_option" with what is wrong.
        """
        if not http_auth and not options:
            return TRIVIAL
        options = options or {}
        for name in options:
            if name not in _OPTIONS:
                known = ", ".join(sorted(_OPTIONS))
                message = f"this server does not know the option {shown(name)}"
                raise Fault("unknown_option", message, blame=Blame.AGENT, hint=f"it knows {known}")
        for name in ("redirect_https",):
            if not isinstance(options.get(name, False), bool):
                raise bad_option(name, "must be true or false")
        if options.get("on_conflict", "fail") not in _ON_CONFLICT:
            raise bad_option("on_conflict", f"must be one of {', '.join(_ON_CONFLICT)}")
        request = compile_edits("request_headers", options.get("request_headers", {}))
        return cls(
            Settings(
                login=BasicLogin(http_auth) if http_auth else None,
                throttle=Throttle(clock) if http_auth and clock is not None else None,
                allowed=_addresses("allow_ips", options),
                denied=_addresses("deny_ips", options),
                request=_with_host(request, options.get("host_header", "preserve")),
                response=compile_edits("response_headers", options.get("response_headers", {})),
                redirect_https=bool(options.get("redirect_https", False)),
                https_port=https_port,
            )
        )

    # -- who may come in
    def admit_address(self, address: str) -> Denial | None:
        """The part that needs no head: for tcp tunnels, and before anything else of a request."""
        if not self._restricted:
            return None
        parts, visitor = self._parts, parse_address(address)
        if visitor is None or visitor in parts.denied or (parts.allowed and visitor not in parts.allowed):
            return _FORBIDDEN
        return None

    def admit(self, address: str, request: RequestHead, secure: bool) -> Denial | None:
        """Whether this request from `address` may pass; `secure`: it came over TLS. The redirect comes before the
        password, so that nobody types one in the clear."""
        denial = self.admit_address(address)
        if denial is not None:
            return denial
        if self._parts.redirect_https and not secure:
            return self._redirect(request)
        if self._parts.login is not None:
            return self._log_in(self._parts.login, address, request.authorization)
        return None

    def _log_in(self, login: BasicLogin, address: str, authorization: bytes | None) -> Denial | None:
        if authorization is None:
            return _UNAUTHORIZED
        throttle = self._parts.throttle
        if throttle is None:
            return None if login.matches(authorization) else _UNAUTHORIZED
        source = source_of(parse_address(address))
        wait = throttle.wait(source)
        if wait:
            return Denial("rate_limited", b"Retry-After: %d\r\n" % wait)
        if login.matches(authorization):
            return None
        throttle.failed(source)
        return _UNAUTHORIZED

    def _redirect(self, request: RequestHead) -> Denial:
        """To the same address with https. Host and target are parsed already, so neither can bring a line of its own."""
        port = b"" if self._parts.https_port == 443 else b":%d" % self._parts.https_port
        target = _LOCATION.sub(lambda match: b"%%%02X" % match[0][0], request.target)
        target = b"/" if target == b"*" else target
        return Denial("https_required", b"Location: https://%b%b%b\r\n" % (request.host.encode("ascii"), port, target))

    # -- what is changed
    def edit_request(self, request: RequestHead) -> RequestHead:
        """The head with host_header and request_headers applied when it is forwarded."""
        edits = self._parts.request
        return request.edited(edits.added, edits.drop) if edits else request

    def edit_response(self, response: ResponseHead) -> ResponseHead:
        """The head with response_headers applied when it is forwarded; not for a 1xx, which is not the answer."""
        edits = self._parts.response
        return response.edited(edits.added, edits.drop) if edits and response.status >= 200 else response

    def __repr__(self) -> str:
        parts = self._parts
        asked = {
            "auth": parts.login is not None,
            "addresses": self._restricted,
            "request": bool(parts.request),
            "response": bool(parts.response),
            "redirect_https": parts.redirect_https,
        }
        return f"<Policy {' '.join(name for name, is_set in asked.items() if is_set) or 'trivial'}>"


_OPTIONS: Final = frozenset({
    "allow_ips", "deny_ips", "host_header", "request_headers", "response_headers", "redirect_https",
    "on_conflict",  # what happens when the name is taken: decided where tunnels are declared, checked here
})  # fmt: skip

TRIVIAL: Final = Policy(Settings())


def _addresses(option: str, options: Mapping[str, object]) -> AddressList:
    if option not in options:
        return _NO_ADDRESSES
    value = options[option]
    if not isinstance(value, list | tuple) or len(value) > NETWORKS_MAX:
        raise bad_option(option, f"must be a list of at most {NETWORKS_MAX} addresses and networks")
    for text in value:
        try:
            AddressList([text] if isinstance(text, str) else [""])
        except ValueError:
            raise bad_option(option, f"{shown(text)} is not an address or a network such as 192.0.2.0/24") from None
    if option == "allow_ips" and not value:
        raise bad_option(option, "is empty, so nobody could come in")
    return AddressList(str(text) for text in value)


def _with_host(edits: Edits, value: object) -> Edits:
    if value == "preserve":
        return edits
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
    if host_of(raw) is None or value == "rewrite":  # the agent puts its upstream's name in the place of "rewrite"
        raise bad_option("host_header", f"{shown(value)} is not a host name with or without a port, nor preserve")
    return Edits(edits.drop | {b"host"}, b"Host: %b\r\n%b" % (raw, edits.added))
