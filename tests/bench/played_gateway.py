"""A gateway whose services, sessions and streams are played by stubs that answer immediately."""

import asyncio
import atexit
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette

from contracts.messages import SentMessage
from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import SendMessageRequest, SendMessageResponse
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from infra.security import position_keys
from infra.security.key_lifecycle import KeyTerms
from infra.settings import Settings
from services.gateway.app import create_app
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.consistency.user_positions import LatestPositions
from services.gateway.limits.concurrency_limit import ConcurrencyLimiter
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.observability.metrics import Metrics
from services.gateway.route_table import ENDPOINTS
from services.gateway.security.access_tokens import AUDIENCE, AccessTokens

ANNA, BORIS = sorted((new_id(), new_id()))
TEXT = "How are you? " * 8
Step = Callable[[int], Awaitable[None]]


class Unchanging:
    """Token keys, and a session check in which no session has ended."""

    generation = 1
    alive = True

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        public = {**jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k", "alg": "EdDSA"}
        self._key = jwt.PyJWK(public)
        now = int(time.time())
        claims = {"iss": "us", "aud": AUDIENCE, "sub": ANNA, "sid": new_id(), "jti": "j", "iat": now, "exp": now + 900}
        self.token = jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "k"})

    def reload_if_changed(self) -> None:
        pass

    def find(self, key_id: str) -> jwt.PyJWK | None:
        return self._key

    def __contains__(self, session_id: object) -> bool:
        return False


def answered(request: SendMessageRequest) -> SendMessageResponse:
    return SendMessageResponse(
        message=msgspec.json.encode(
            SentMessage(
                message_id=new_id(),
                conversation_id=pair_id(request.sender_id, request.recipient_id),
                sequence=7,
                sender_id=request.sender_id,
                text=request.text,
                sent_at="2026-01-31T12:00:00.000Z",
            )
        ),
        created=True,
        position=Position.at(MESSAGING, 123_456).encode(),
    )


@cache
def position_cipher() -> SealedPositions:
    folder = tempfile.TemporaryDirectory(prefix="vestnik-bench-")
    atexit.register(folder.cleanup)
    position_keys.FILES.make(Path(folder.name), datetime.now(UTC))
    return SealedPositions(position_keys.PositionKeys(Path(folder.name), KeyTerms.of(Settings())))


class Played:
    """Stubs for the parts of the gateway that are not measured."""

    def __init__(self, *, limited: bool) -> None:
        self.settings = Settings()
        self.keys = Unchanging()
        self.remotes = self
        self.messaging = self
        self.stub = self
        self.send_message = None
        self.tokens = AccessTokens(self.keys, issuer="us", revoked=self.keys)
        self.positions = LatestPositions()
        self.limiter = RateLimiter(b"k" * 32) if limited else None
        self.load = ConcurrencyLimiter()
        self.metrics = Metrics()
        self.live = self
        self.sealed = position_cipher()
        self._reached = Position({CONTACT: 1_000, MESSAGING: 123_000})

    def positions_reached(self) -> Position:
        return self._reached

    async def command(
        self, method: object, request: SendMessageRequest, *, repeatable: bool, about: str
    ) -> SendMessageResponse:
        return answered(request)


class PlayedLive:
    def __init__(self, reached: Position) -> None:
        self._reached = reached

    def positions(self) -> Position:
        return self._reached


def made_app(*, limited: bool = False) -> tuple[Starlette, str]:
    played = Played(limited=limited)
    cast(Any, played).live = PlayedLive(played.positions_reached())
    return create_app(ENDPOINTS, cast(Any, played)), played.keys.token


def body() -> bytes:
    return msgspec.json.encode({"text": TEXT, "client_message_id": new_id()})


class Wire(asyncio.Transport):
    """A transport that discards what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, data: object) -> None:
        self.written += 1

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 5000), "sockname": ("127.0.0.1", 8080)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
