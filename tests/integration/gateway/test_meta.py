"""The gateway's routes about itself."""

import msgspec

from tests.integration.gateway.conftest import Stage


async def test_health_keys_figures_and_description_are_public(stage: Stage) -> None:
    assert (await stage.client.get("/healthz")).json() == {"status": "ok"}
    assert (await stage.client.get("/readyz")).json() == {"status": "ready"}
    keys = (await stage.client.get("/.well-known/jwks.json")).json()["keys"]
    assert [(key["kty"], key["crv"], "d" in key) for key in keys] == [("OKP", "Ed25519", False)]
    described = (await stage.client.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert (await stage.client.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
    figures = (await stage.client.get("/metrics")).text
    assert 'vestnik_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in figures


async def test_figures_name_templates_and_never_what_a_client_made_up(stage: Stage) -> None:
    await stage.client.get("/v1/profiles/nobody")
    await stage.client.get("/made/up")
    await stage.client.request("BREW", "/healthz")
    figures = (await stage.client.get("/metrics")).text
    assert 'route="/v1/profiles/{user_id}",status="404"' in figures
    assert 'route="(none)",status="404"' in figures
    assert "nobody" not in figures
    assert "BREW" not in figures


async def test_the_page_loads_nothing_from_outside(stage: Stage) -> None:
    for path, media_type in (
        ("/docs", "text/html"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/docs.css", "text/css"),
    ):
        answer = await stage.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media_type)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text
        assert "https://" not in answer.text


async def test_head_answers_like_get_without_a_body(stage: Stage) -> None:
    get, head = await stage.client.get("/openapi.json"), await stage.client.head("/openapi.json")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert msgspec.json.decode(get.content)
