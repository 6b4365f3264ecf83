from __future__ import annotations

import pytest

from ngrokc.inspect.web.reply import ApiError
from ngrokc.inspect.web.tunnels import spec_of
from protocol.address import Upstream
from protocol.errors import Fault, RefusedError
from tests.kit.inspection import FakeRoute, open_inspection


async def test_open_show_and_close_as_pyngrok_does() -> None:
    async with open_inspection() as it:
        body = {"name": "web", "addr": "5000", "proto": "http", "schemes": ["http", "https"], "bind_tls": True}
        answer = await it.client.post("/api/tunnels", json=body)
        made = answer.json()
        assert (answer.status_code, made["name"], made["config"]["addr"]) == (201, "web", "http://127.0.0.1:5000")
        (spec,) = it.agent.asked
        assert spec.protocols == ("http", "https")
        names = [tunnel["name"] for tunnel in (await it.json("/api/tunnels"))["tunnels"]]
        assert names == ["test", "web", "web (https)"]
        assert (await it.json("/api/tunnels/web%20(https)"))["public_url"] == "https://web.example.me"
        code = await it.client.get("/api/tunnels/web/qr")
        assert code.headers["content-type"] == "image/svg+xml"
        assert code.text.startswith("<svg xmlns=")
        assert (await it.client.delete("/api/tunnels/web")).status_code == 204
        assert (await it.client.delete("/api/tunnels/web")).status_code == 404


async def test_the_root_names_the_rest() -> None:
    async with open_inspection() as it:
        root = await it.json("/api/")
        for key in ("tunnels_uri", "requests_uri", "status_uri"):
            assert (await it.client.get(root[key])).status_code == 200


async def test_what_the_server_refuses() -> None:
    async with open_inspection() as it:
        for fault, status in ((RefusedError("name_taken", "the name is taken"), 502), (Fault("tunnel_exists"), 409)):
            it.agent.refusal = fault
            answer = await it.client.post("/api/tunnels", json={"addr": 80})
            assert (answer.status_code, answer.json()["details"]["err"]) == (status, fault.code)


async def test_a_tunnel_to_the_inspector_is_refused() -> None:
    async with open_inspection() as it:
        assert it.inspector.address is not None
        port = it.inspector.address[1]
        for addr in (port, f"localhost:{port}", f"127.0.0.2:{port}", f"http://127.0.0.1:{port}", f"[::1]:{port}"):
            answer = await it.client.post("/api/tunnels", json={"addr": addr})
            assert answer.status_code == 400
            assert "refused" in answer.json()["msg"]
        assert it.agent.asked == []


async def test_a_tunnel_that_waits_shows_on_demand() -> None:
    async with open_inspection() as it:
        it.agent.routes.append(FakeRoute(None, "sdk", "tcp://example.me:1", "tcp"))
        assert len((await it.json("/api/tunnels?all=1"))["tunnels"]) == 2


def test_specs() -> None:
    assert spec_of({"addr": 80}).upstreams["http"] == Upstream("tcp", "127.0.0.1", 80)
    assert spec_of({"addr": "80", "proto": "tcp", "remote_addr": "x.example:2222"}).remote_port == 2222
    assert spec_of({"addr": 80, "basic_auth": ["u:p"]}).auth.reveal() == "u:p"
    assert spec_of({"addr": 80, "domain": "A.example.me."}).hostname == "a.example.me"
    assert spec_of({"addr": 80, "bind_tls": "both"}).protocols == ("http", "https")
    assert spec_of({"addr": 80, "inspect": False}).options.inspect is False
    bads: tuple[dict[str, object], ...] = (
        {"proto": "tls"},
        {"basic_auth": ["a:b", "c:d"]},
        {"name": 5},
        {"subdomain": []},
    )
    for bad in bads:
        with pytest.raises(ApiError):
            spec_of({"addr": 80, **bad})
