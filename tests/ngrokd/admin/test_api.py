"""The operator's API on a running server: answers fit the OpenAPI file, with, without and with a wrong token."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings

from ngrokd.admin import api
from tests.kit.adminworld import AdminWorld, MemoryBooks, open_admin
from tests.kit.classic_client import ClassicClient, Wish
from tests.ngrokd.test_server import trusting

SPEC: dict[str, Any] = api.openapi()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AdminWorld]:
    async with open_admin(tmp_path) as found:
        assert found.server.office.operator is not None
        found.server.office.operator._books = MemoryBooks()
        yield found


@pytest.fixture
async def agent(world: AdminWorld) -> AsyncIterator[ClassicClient]:
    port = world.server.addresses["tunnel"][0].port
    client = ClassicClient(("127.0.0.1", port), trusting(), Wish(("127.0.0.1", 1), "http", subdomain="one"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        with trio.fail_after(5):
            while not list(world.server.registry.tunnels()):
                await trio.sleep(0.01)
        yield client
        nursery.cancel_scope.cancel()


def fits(value: object, name: str) -> None:
    """`value` is what the file calls `name`."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": SPEC["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


async def test_what_is_there_is_shown(world: AdminWorld, agent: ClassicClient) -> None:
    async with world.client() as client:
        status = (await client.get("/api/status")).json()
        fits(status, "Status")
        assert (status["sessions"], status["tunnels"], status["state"]) == (1, 1, "running")
        (session,) = (await client.get("/api/sessions")).json()["sessions"]
        fits(session, "Session")
        assert session["dialect"] == "classic"
        assert session["links"]["kind"] == "links"
        assert (await client.get(f"/api/sessions/{session['id']}")).json()["id"] == session["id"]
        (tunnel,) = (await client.get("/api/tunnels")).json()["tunnels"]
        fits(tunnel, "Tunnel")
        assert tunnel["url"].startswith("http://one.localhost:")
        assert (await client.get("/api/version")).json()["version"]


async def test_visitors_and_refusals_are_counted(world: AdminWorld) -> None:
    port = world.server.addresses["http"][0].port
    async with world.client() as client, httpx.AsyncClient(trust_env=False) as visitor:
        answer = await visitor.get(f"http://127.0.0.1:{port}/", headers={"host": "nobody.localhost"})
        assert answer.status_code == 404
        status = (await client.get("/api/status")).json()
        assert status["refusals"] == {"tunnel_not_found": 1}
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            for _ in range(200):
                rows = (await client.get("/api/connections?limit=5")).json()["connections"]
                if rows:
                    break
                await trio.sleep(0.01)
            fits(rows[0], "Connection")
            assert rows[0]["kind"] == "http"


async def test_a_kicked_agent_is_gone_and_kept_out(world: AdminWorld, agent: ClassicClient) -> None:
    async with world.client() as client:
        (session,) = (await client.get("/api/sessions")).json()["sessions"]
        answer = await client.post(f"/api/sessions/{session['id']}/kick", json={"seconds": 60, "ban": "address"})
        fits(answer.json(), "Kicked")
        assert (await client.get("/api/sessions")).json() == {"sessions": []}
        (ban,) = (await client.get("/api/bans")).json()["bans"]
        fits(ban, "Ban")
        assert ban["id"] == "address:127.0.0.1"
        with trio.fail_after(5):
            while not (refused := (await client.get("/api/status")).json()["refused_logins"]):
                second = ClassicClient(("127.0.0.1", world.server.addresses["tunnel"][0].port), trusting())
                with trio.move_on_after(0.3):
                    try:
                        await second.run()
                    except Exception:  # noqa: BLE001 - how it takes that is not the question
                        continue
        assert refused.keys() == {"banned"}
        headers = {"content-type": "application/json"}
        assert (await client.delete(f"/api/bans/{ban['id']}", headers=headers)).status_code == 204
        assert (await client.delete(f"/api/bans/{ban['id']}", headers=headers)).status_code == 404


async def test_tokens_and_reservations(world: AdminWorld) -> None:
    async with world.client(**{"content-type": "application/json"}) as client:
        wish = {"name": "laptop", "lifetime": "30d", "allow_hosts": "x.example.me,*.dev", "max_tunnels": 3}
        made = await client.post("/api/tokens", json=wish)
        assert made.status_code == 201
        fits(made.json(), "NewToken")
        token = made.json()["token"]["id"]
        assert (await client.post("/api/tokens", json=wish)).status_code == 409
        rotated = await client.post(f"/api/tokens/{token}/rotate", json={})
        fits(rotated.json(), "NewToken")
        assert rotated.json()["text"] != made.json()["text"]
        changed = await client.patch(f"/api/tokens/{token}", json={"max_tunnels": None, "max_bandwidth": "1MB/s"})
        fits(changed.json()["token"], "Token")
        scope = changed.json()["token"]["scope"]
        assert (scope["max_tunnels"], scope["max_bandwidth"], scope["allow_hosts"]) == (
            None,
            1_000_000,
            ["x.example.me", "*.dev"],
        )
        assert (await client.patch(f"/api/tokens/{token}", json={"max_tunnels": 0})).status_code == 400
        assert (await client.patch("/api/tokens/none", json={})).status_code == 404
        listed = (await client.get("/api/tokens")).json()["tokens"]
        assert [record["name"] for record in listed] == ["laptop"]
        assert made.json()["text"] not in json.dumps(listed)
        kept = await client.post("/api/reservations", json={"name": "Shop.Example.Me", "token": token})
        fits(kept.json(), "Reservation")
        assert kept.json()["name"] == "shop.example.me"
        assert (await client.delete("/api/reservations/host/shop.example.me")).status_code == 204
        assert (await client.delete("/api/reservations/host/shop.example.me")).status_code == 404
        assert (await client.delete(f"/api/tokens/{token}")).status_code == 204
        bad = await client.post("/api/tokens", json={"name": "../../x"})
        assert bad.status_code == 400
        fits(bad.json(), "Error")


async def test_metrics_are_text_that_prometheus_reads(world: AdminWorld, agent: ClassicClient) -> None:
    async with world.client() as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'ngrokd_sessions{dialect="classic"} 1.0' in answer.text


async def test_draining_is_not_ready_any_more(world: AdminWorld) -> None:
    async with world.client() as client, httpx.AsyncClient(base_url=world.base, trust_env=False) as stranger:
        assert (await stranger.get("/readyz")).json() == {"status": "ready"}
        assert (await stranger.get("/healthz")).json() == {"status": "ok"}
        assert (await client.post("/api/drain", json={})).status_code == 202
        with trio.fail_after(10):
            await world.server.stopped.wait()


def guarded() -> list[tuple[str, str]]:
    return [
        (method, path)
        for path, methods in SPEC["paths"].items()
        for method, operation in methods.items()
        if operation.get("security") != []
    ]


async def test_nothing_is_told_without_the_token(world: AdminWorld) -> None:
    for method, path in guarded():
        for headers in ({"authorization": ""}, {"authorization": "Bearer " + "x" * 43}):
            async with world.client(**headers, **{"content-type": "application/json"}) as client:
                answer = await client.request(method, path.replace("{", "").replace("}", ""))
                assert answer.status_code in (401, 429), (method, path)
                fits(answer.json(), "Error")


def test_every_route_is_in_the_file() -> None:
    described = {(method.upper(), path) for path, methods in SPEC["paths"].items() for method in methods}
    routes = api.Api(None, None, None).routes()  # type: ignore[arg-type]
    served = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}
    assert served == described


# -- driven by the schema
EXAMPLES = 8 if os.environ.get("HYPOTHESIS_PROFILE") != "deep" else 500


async def test_answers_fit_the_schema_whatever_is_asked(world: AdminWorld) -> None:
    await trio.to_thread.run_sync(drive, world, f"Bearer {world.token}", frozenset[int]())


@pytest.mark.parametrize("authorization", [None, "Bearer wrong"])
async def test_without_the_right_token_every_question_is_refused(world: AdminWorld, authorization: str | None) -> None:
    await trio.to_thread.run_sync(drive, world, authorization, frozenset({401, 403, 415, 429}))


def drive(world: AdminWorld, authorization: str | None, only: frozenset[int]) -> None:
    """Call every operation with made-up arguments; the answers must fit the file."""
    schema = schemathesis.openapi.from_dict(SPEC)
    schema.config.update(base_url=world.base)
    headers = {"content-type": "application/json", **({"authorization": authorization} if authorization else {})}
    # A connection for each: a refusal that leaves a body unread ends its connection, and the next request might be on its way
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=world.base, trust_env=False, headers=headers, limits=limits) as client:
        for found in schema.get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]
            if operation.path in ("/api/drain", "/login"):
                continue  # the one stops the server, the other's tries are counted
            public = operation.path in ("/healthz", "/readyz")
            drive_one(client, operation, frozenset() if public else only)


def drive_one(client: httpx.Client, operation: Any, only: frozenset[int]) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url=str(client.base_url))
        answer = client.request(sent["method"], sent["url"], params=sent.get("params"), json=sent.get("json"))
        assert answer.status_code < 500, (answer.request.url, answer.text)
        if only:
            assert answer.status_code in only, (answer.request.url, answer.text)
        validate(answer, operation.definition.raw)

    ask()


def validate(answer: httpx.Response, operation: Any) -> None:
    described = operation["responses"].get(str(answer.status_code))
    if described is None:
        # a made-up path that names another route, or none at all
        assert answer.status_code in (404, 405), (answer.request.url, answer.status_code, answer.text)
        fits(answer.json(), "Error")
        return
    content = described.get("content", {}).get("application/json")
    if content is not None:
        schema = {**content["schema"], "components": SPEC["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())
