"""Session events that cannot be read: the gateway continues, and refuses every session that may have ended."""

import asyncio

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, encode, seal
from contracts.events.session import SessionRevoked
from contracts.subjects import session
from services.gateway.security.revocations import Revocations
from tests.conditions import until


def revoked(session_id: str) -> bytes:
    event = SessionRevoked(user_id="u", reason="logout")
    return encode(seal(event, aggregate_id=session_id, version=1, provenance=Provenance()))


@pytest.mark.parametrize(
    "payload", [b"\xff", b'{"id":"\xff"}', b'{"x":' + b"[" * 9_999, revoked("one").replace(b"logout", b"\xff")]
)
async def test_an_event_that_cannot_be_read_ends_its_session_and_not_the_gateway(
    streams: Client, payload: bytes
) -> None:
    revocations = Revocations(streams, access_token_seconds=900, name="test")
    following = asyncio.create_task(revocations.run())
    try:
        await streams.request(session("one"), payload)
        await streams.request(session("other"), revoked("other"))

        def heard() -> bool:
            assert not following.done()
            return "other" in revocations

        await until(heard)
        assert "one" in revocations
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
