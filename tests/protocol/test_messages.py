"""All messages of both dialects: golden bodies of 1.7, there and back, nothing secret in a repr, and the speed we count on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import timeit
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.messages import (
    CLASSIC,
    NATIVE,
    AgentInfo,
    Auth,
    AuthResp,
    CloseTunnel,
    GoAway,
    Message,
    NewTunnel,
    Notice,
    Ping,
    Pong,
    RegLeg,
    RegLegResp,
    RegProxy,
    ReqLeg,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    StartProxyResp,
    TunnelClosed,
    decode,
    encode,
)

ID = "0123456789abcdef0123456789abcdef"
SPECIMENS: list[tuple[Message, str]] = [
    (Ping(), '{"Type":"Ping","Payload":{}}'),
    (Pong(), '{"Type":"Pong","Payload":{}}'),
    (ReqProxy(), '{"Type":"ReqProxy","Payload":{}}'),
    (
        Auth(os="linux", arch="amd64"),
        '{"Type":"Auth","Payload":{"Version":"2","MmVersion":"1.7","User":"","Password":"","OS":"linux",'
        '"Arch":"amd64","ClientId":""}}',
    ),
    (
        AuthResp(client_id=ID),
        '{"Type":"AuthResp","Payload":{"Version":"2","MmVersion":"1.7","ClientId":"' + ID + '","Error":""}}',
    ),
    (RegProxy(ID), '{"Type":"RegProxy","Payload":{"ClientId":"' + ID + '"}}'),
    (
        ReqTunnel("0011223344556677", "http+https", subdomain="test"),
        '{"Type":"ReqTunnel","Payload":{"ReqId":"0011223344556677","Protocol":"http+https","Hostname":"",'
        '"Subdomain":"test","HttpAuth":"","RemotePort":0}}',
    ),
    (
        NewTunnel("0011223344556677", "http://test.ngrok.me", "http"),
        '{"Type":"NewTunnel","Payload":{"ReqId":"0011223344556677","Url":"http://test.ngrok.me","Protocol":"http",'
        '"Error":""}}',
    ),
    (
        StartProxy("http://test.ngrok.me", "[2001:db8::1]:4711"),
        '{"Type":"StartProxy","Payload":{"Url":"http://test.ngrok.me","ClientAddr":"[2001:db8::1]:4711"}}',
    ),
    (
        Auth(user="t", caps=("ticket", "mux"), agent=AgentInfo("0.1.0", "linux", "python"), resume="ab"),
        '{"Type":"Auth","Payload":{"Version":"2","MmVersion":"1.7","User":"t","Password":"","OS":"","Arch":"",'
        '"ClientId":"","Caps":["ticket","mux"],"Agent":{"Version":"0.1.0","OS":"linux","Lang":"python"},"Resume":"ab"}}',
    ),
    (
        AuthResp(client_id=ID, caps=("ticket",), ticket="cd", session_id="s1"),
        '{"Type":"AuthResp","Payload":{"Version":"2","MmVersion":"1.7","ClientId":"' + ID + '","Error":"",'
        '"Caps":["ticket"],"Ticket":"cd","SessionId":"s1"}}',
    ),
    (
        AuthResp(error="no", code="bad_token", retry=False),
        '{"Type":"AuthResp","Payload":{"Version":"2","MmVersion":"1.7","ClientId":"","Error":"no","Code":"bad_token",'
        '"Retry":false}}',
    ),
    (
        ReqTunnel("r", "tcp", remote_port=65535, options={"allow_ips": ["10.0.0.0/8"]}),
        '{"Type":"ReqTunnel","Payload":{"ReqId":"r","Protocol":"tcp","Hostname":"","Subdomain":"","HttpAuth":"",'
        '"RemotePort":65535,"Options":{"allow_ips":["10.0.0.0/8"]}}}',
    ),
    (
        NewTunnel("r", error="taken", code="name_taken", tunnel_id=""),
        '{"Type":"NewTunnel","Payload":{"ReqId":"r","Url":"","Protocol":"","Error":"taken","Code":"name_taken",'
        '"TunnelId":""}}',
    ),
    (RegProxy(ID, "cd"), '{"Type":"RegProxy","Payload":{"ClientId":"' + ID + '","Ticket":"cd"}}'),
    (
        StartProxy("u", "a", "t1", "c1", "http"),
        '{"Type":"StartProxy","Payload":{"Url":"u","ClientAddr":"a","TunnelId":"t1","ConnId":"c1","Proto":"http"}}',
    ),
    (CloseTunnel("t1"), '{"Type":"CloseTunnel","Payload":{"TunnelId":"t1"}}'),
    (
        TunnelClosed("t1", "taken_over", "gone"),
        '{"Type":"TunnelClosed","Payload":{"TunnelId":"t1","Code":"taken_over","Message":"gone"}}',
    ),
    (RegLeg(ID, "cd", 1), '{"Type":"RegLeg","Payload":{"ClientId":"' + ID + '","Ticket":"cd","Leg":1}}'),
    (RegLegResp(), '{"Type":"RegLegResp","Payload":{"Error":""}}'),
    (ReqLeg(), '{"Type":"ReqLeg","Payload":{}}'),
    (
        StartProxyResp("upstream_refused", "nobody listens"),
        '{"Type":"StartProxyResp","Payload":{"Code":"upstream_refused","Message":"nobody listens"}}',
    ),
    (GoAway(30, "restart"), '{"Type":"GoAway","Payload":{"After":30,"Reason":"restart"}}'),
    (Notice("limit_reached", "full"), '{"Type":"Notice","Payload":{"Code":"limit_reached","Message":"full"}}'),
]


@pytest.mark.parametrize(("message", "body"), SPECIMENS, ids=lambda value: type(value).__name__)
def test_there_and_back(message: Message, body: str) -> None:
    assert encode(message).decode() == body
    assert decode(body.encode()) == message


def test_every_message_has_a_specimen() -> None:
    assert {type(message) for message, _ in SPECIMENS} == set(CLASSIC + NATIVE)


def test_the_codec_knows_every_message_and_nothing_else() -> None:
    for cls in CLASSIC + NATIVE:
        assert type(decode(f'{{"Type":"{cls.__name__}","Payload":{{}}}}'.encode())) is cls
    for name in ("Message", "AgentInfo", "ping", "Hello", "__class__"):
        with pytest.raises(WireError):
            decode(f'{{"Type":"{name}","Payload":{{}}}}'.encode())


def test_missing_versions_are_empty_not_ours() -> None:
    message = decode(b'{"Type":"Auth","Payload":{}}')
    assert isinstance(message, Auth)
    assert message.version == message.mm_version == ""


@pytest.mark.parametrize("port", ["-1", "65536", "1.5", '"80"', "true"])
def test_remote_port_is_a_port(port: str) -> None:
    with pytest.raises(WireError):
        decode(f'{{"Type":"ReqTunnel","Payload":{{"RemotePort":{port}}}}}'.encode())


def test_a_frozen_options_mapping_is_written() -> None:
    options = MappingProxyType({"host_header": "rewrite"})
    found = decode(encode(ReqTunnel(options=options)))
    assert isinstance(found, ReqTunnel)
    assert found.options == {"host_header": "rewrite"}
    assert hash(found)


@pytest.mark.parametrize(
    "message",
    [
        Auth(user="canary", password="canary", resume="canary"),
        AuthResp(ticket="canary"),
        ReqTunnel(http_auth="canary:canary", options={"request_headers": {"X-Key": "canary"}}),
        RegProxy("0123456789canary", "canary"),
        RegLeg("0123456789canary", "canary"),
        AuthResp(client_id="0123456789canary"),
        Auth(client_id="0123456789canary"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_no_secret_in_a_repr(message: Message) -> None:
    for shown in (repr(message), str(message), f"{message!r}"):
        assert "canary" not in shown
        assert shown.startswith(type(message).__name__)


def test_a_repr_tells_what_matters() -> None:
    assert (
        repr(NewTunnel("r1", "http://x", "http")) == "NewTunnel(req_id='r1', url='http://x', protocol='http', error='')"
    )
    assert repr(RegProxy(ID)) == "RegProxy(client_id='01234567...')"
    assert repr(ReqTunnel(options={"b": 1, "a\n": 2})).endswith("remote_port=0, options={'a\\n', 'b'})")
    assert repr(Auth(user="x", password="")).startswith(
        "Auth(version='2', mm_version='1.7', user=********, password=''"
    )


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StartProxy().url = "x"  # type: ignore[misc]


_TEXT = st.text(max_size=20)
_MESSAGES = st.one_of(
    st.builds(
        Auth,
        *[_TEXT] * 7,
        caps=st.none() | st.lists(_TEXT, max_size=3).map(tuple),
        agent=st.none() | st.builds(AgentInfo, _TEXT, _TEXT, _TEXT),
        resume=st.none() | _TEXT,
    ),
    st.builds(AuthResp, *[_TEXT] * 4, retry=st.none() | st.booleans(), code=st.none() | _TEXT),
    st.builds(
        ReqTunnel,
        *[_TEXT] * 5,
        remote_port=st.integers(0, 65535),
        options=st.none() | st.dictionaries(_TEXT, _TEXT | st.booleans() | st.lists(_TEXT, max_size=2), max_size=3),
    ),
    st.builds(NewTunnel, *[_TEXT] * 4, code=st.none() | _TEXT, tunnel_id=st.none() | _TEXT),
    st.builds(StartProxy, _TEXT, _TEXT, *[st.none() | _TEXT] * 3),
    st.builds(TunnelClosed, _TEXT, _TEXT, _TEXT),
    st.builds(RegLeg, _TEXT, _TEXT, st.integers(0, 2**31 - 1)),
    st.builds(GoAway, st.integers(0, 2**31 - 1), _TEXT),
    st.builds(Notice, _TEXT, _TEXT),
)


@given(_MESSAGES)
def test_any_message_survives_the_wire(message: Message) -> None:
    body = encode(message)
    assert decode(body) == message
    json.loads(body)  # and another parser agrees that it is JSON
    assert not set(b"<>&") & set(body)


@given(st.text(st.characters(), max_size=20))
def test_surrogates_never_stop_the_encoder(text: str) -> None:
    found = decode(encode(StartProxyResp("x", text)))
    assert isinstance(found, StartProxyResp)
    assert found.message == "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


@given(_MESSAGES, st.data())
def test_damaged_bodies_parse_or_raise_our_error(message: Message, data: st.DataObject) -> None:
    body = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'\0"\\{}[]:,0-9eEuntf\xff\xed\xa0'))
    with contextlib.suppress(WireError):
        assert isinstance(decode(bytes(body)), Message)


def test_a_visitor_costs_little() -> None:
    """StartProxy is written and read once per visitor. Typical: 1.3 and 3.5 us; the limits are wide for busy machines."""
    message = StartProxy("https://test.example.me", "203.0.113.7:50000", "0011223344556677", "0011223344556677", "http")
    body = encode(message)
    rounds = 500
    assert min(timeit.repeat(lambda: encode(message), number=rounds, repeat=7)) / rounds < 12e-6
    assert min(timeit.repeat(lambda: decode(body), number=rounds, repeat=7)) / rounds < 30e-6
