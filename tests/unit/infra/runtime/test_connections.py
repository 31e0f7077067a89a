"""The errors for URLs that no connection can be made with."""

import ssl

import pytest

from contracts.errors import Unavailable
from infra.runtime.connections import connect_nats
from infra.settings import BadSetting, Settings


@pytest.mark.parametrize("url", ["", " , "])
async def test_no_server_is_an_error_and_not_an_endless_attempt(url: str) -> None:
    with pytest.raises(BadSetting, match="VESTNIK_NATS_URL names no server"):
        await connect_nats(Settings(nats_url=url), "gateway", patience=1.0)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:port",
        "nats://[::1",
        "nats://127.0.0.1:99999999",
        "http://127.0.0.1:4222",
        "nats://",
        "nats://auth:sec/ret@127.0.0.1:4222",
        "nats://127.0.0.1:4222,nats://auth:secret@127.0.0.1:port",
    ],
)
async def test_a_url_that_is_not_valid_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(BadSetting, match="VESTNIK_NATS_URL must be nats://host:port") as refused:
        await connect_nats(Settings(nats_url=url), "gateway", patience=1.0)
    assert "sec" not in str(refused.value)


async def test_the_systems_authorities_are_not_loaded_for_a_server_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: pytest.fail("loads the authorities"))
    with pytest.raises(Unavailable, match="does not answer"):
        await connect_nats(Settings(nats_url="nats://127.0.0.1:1"), "gateway", patience=0.05)
