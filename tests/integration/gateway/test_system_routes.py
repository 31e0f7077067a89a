"""The gateway's routes about itself."""

import asyncio
import json
from pathlib import Path

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.rpc.vestnik.notary.v1 import LatestHeadsResponse, TreeHead
from contracts.services import GATEWAY
from contracts.subjects import QUORUM, quorum_of
from contracts.values.ids import new_id
from infra.embedded.ports import free_port
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.main import gateway
from services.gateway.observability.metrics import Metrics
from streams.quorum import Quorum
from streams.topology import ensure_stream, settings_of_quorum
from tests.conditions import until
from tests.integration.gateway.conftest import Harness


async def test_health_keys_figures_and_description_are_public(harness: Harness) -> None:
    assert (await harness.client.get("/healthz")).json() == {"status": "ok"}
    assert (await harness.client.get("/readyz")).json() == {"status": "ready"}
    keys = (await harness.client.get("/.well-known/jwks.json")).json()["keys"]
    assert [(key["kty"], key["crv"], "d" in key) for key in keys] == [("OKP", "Ed25519", False)]
    described = (await harness.client.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert (await harness.client.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
    figures = (await harness.client.get("/metrics")).text
    assert 'vestnik_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in figures


AT = "2026-01-31T12:00:00.000Z"
HEAD = TreeHead(stream="AUTH", tree=1, size=7, last_sequence=9, root="ab" * 32, at=AT, key_id="k", signature="cd" * 64)
JWKS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"eA","kid":"k","use":"sig","alg":"EdDSA"}]}'


async def test_signed_heads_are_public_cached_and_limited(harness: Harness) -> None:
    harness.script.answers["latest_heads"] = Unavailable()
    assert (await harness.client.get("/.well-known/vestnik/heads")).status_code == 503
    harness.script.answers["latest_heads"] = LatestHeadsResponse(heads=[HEAD], jwks=JWKS)
    harness.script.asked.clear()
    answers = await asyncio.gather(*(harness.client.get("/.well-known/vestnik/heads") for _ in range(5)))
    item = {"stream": "AUTH", "size": 7, "root": HEAD.root, "at": AT, "key_id": "k", "signature": HEAD.signature}
    for answer in answers:
        assert answer.status_code == 200
        assert answer.json() == {"items": [item | {"tree": 1, "last_sequence": 9}], "keys": json.loads(JWKS)}
        assert answer.headers["cache-control"] == "public, max-age=5"
        assert '"tree-heads-address"' in answer.headers["ratelimit-policy"]
    # Clients that ask within five seconds share one call; on a slow machine the five may take longer than that.
    assert len([method for method, _, _ in harness.script.asked if method == "latest_heads"]) < len(answers)


async def test_figures_name_templates_and_never_what_a_client_made_up(harness: Harness) -> None:
    await harness.client.get("/v1/profiles/nobody")
    await harness.client.get("/made/up")
    await harness.client.request("BREW", "/healthz")
    figures = (await harness.client.get("/metrics")).text
    assert 'route="/v1/profiles/{user_id}",status="404"' in figures
    assert 'route="(none)",status="404"' in figures
    assert "nobody" not in figures
    assert "BREW" not in figures


async def test_the_page_loads_nothing_from_outside(harness: Harness) -> None:
    for path, media_type in (
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
    ):
        answer = await harness.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text
        assert "https://" not in answer.text


async def test_head_answers_like_get_without_a_body(harness: Harness) -> None:
    get, head = await harness.client.get("/openapi.json"), await harness.client.head("/openapi.json")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert msgspec.json.decode(get.content)


async def test_the_figures_say_whether_there_is_evidence_of_a_quorum(tmp_path: Path, streams: NATS) -> None:
    await ensure_stream(streams, settings_of_quorum(replicas=1))
    quorum = Quorum(streams, quorum_of(GATEWAY, new_id()), age=1.0, hold=0.1, every=0.05)
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("auth", "session", "profile", "contact", "messaging")}
    settings = Settings(data_dir=tmp_path, addresses=addresses | {"profile_rest": addresses["profile"]})
    metrics = Metrics()

    def value() -> float | None:
        return metrics.registry.get_sample_value("vestnik_dependency_up", {"dependency": "quorum"})

    async with gateway(settings, Secrets.create(tmp_path / "secrets"), streams, metrics, quorum) as app:
        await until(lambda: value() == 1.0)
        await streams.jetstream().delete_stream(QUORUM)
        await until(lambda: value() == 0.0)
        # Reads go on: a gateway that has had evidence once stays ready.
        assert "quorum" not in await app.state.context.readiness.missing()
