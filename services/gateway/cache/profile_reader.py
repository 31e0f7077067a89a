"""Reads profiles: from the cache if fresh enough, else from a replica of the profile service over REST."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from contracts.errors import (
    BY_CODE,
    DeadlineExceeded,
    Invalid,
    ProfileNotFound,
    Unauthenticated,
    Unavailable,
    VestnikError,
)
from contracts.positions import Position
from contracts.subjects import AUTH, PROFILE
from contracts.tracing.spans import SpanKind, child
from infra.rpc.call_context import TRACEPARENT, Call
from infra.rpc.replicas import Address, Replicas
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import Tls
from services.gateway.cache.profile_cache import CachedProfile, ProfileCache
from services.gateway.cache.profile_invalidation import ProfileInvalidation
from services.gateway.observability.metrics import Metrics

# The service may wait 5 s for its read model.
_SECONDS = 7.0
_CONNECT_SECONDS = 1.0
# Without an answer for as long, another replica is asked as well; the first one is asked last for some seconds.
_PATIENCE = 2.0
_SLOW_SECONDS = 5.0
_CONNECTIONS = 100
_LARGEST = 64 * 1024
_ROUTE = "/profiles/{user_id}"


class _Refusal(msgspec.Struct):
    """The fields that are read from the service's problem document."""

    code: str = ""
    detail: str = ""


class ProfileReader:
    """Profiles by user id; an async context manager that owns its connections."""

    def __init__(
        self,
        replicas: Replicas,
        cache: ProfileCache,
        invalidation: ProfileInvalidation,
        metrics: Metrics,
        *,
        issuer: Issuer,
        tls: Tls | None = None,
    ) -> None:
        """`replicas`: of the profile service over REST; started and closed with the reader."""
        self._replicas = replicas
        self._issuer = issuer
        self._tls = tls
        self._turn = itertools.count()
        # Until when a replica is asked last, on the monotonic clock.
        self._slow: dict[Address, float] = {}
        self._cache = cache
        self._invalidation = invalidation
        self._outcomes = metrics.profile_cache
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_CONNECTIONS, keepalive_timeout=30, ssl=True if self._tls is None else self._tls.context
            ),
            timeout=aiohttp.ClientTimeout(total=_SECONDS, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
        )
        self._replicas.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._replicas.close()
        if self._session is not None:
            await self._session.close()

    async def get(self, user_id: str, call: Call) -> CachedProfile:
        """The profile, at least as fresh as the call's position requires.

        Raises:
            ProfileNotFound: no user has this id.
            ReadModelBehind: the profile service has not reached the position in time.
            Unavailable, DeadlineExceeded: no replica answered.
        """
        required = Position(
            {stream: call.position.sequence(stream) for stream in (PROFILE, AUTH) if call.position.sequence(stream)}
        )
        usable = self._invalidation.alive
        cached = self._cache.get(user_id) if usable else None
        # No event followed so far has evicted the entry: it is current up to that position.
        if cached is not None and cached.position.merge(self._invalidation.position).covers(required):
            self._outcomes.labels("hit").inc()
            return cached
        profile = await self._fetch(user_id, msgspec.structs.replace(call, position=required))
        if usable and self._invalidation.alive and profile.position.sequences:
            self._cache.put(user_id, profile)
        self._outcomes.labels("miss" if usable else "bypass").inc()
        return profile

    async def _fetch(self, user_id: str, call: Call) -> CachedProfile:
        """Asks one replica, and another one as well if it fails, or has not answered after a while; the first answer
        counts."""
        failure: VestnikError = Unavailable()
        deadline = time.monotonic() + _SECONDS
        if call.deadline is not None:
            deadline = min(deadline, call.deadline)
        unasked = self._in_turn()
        # A pooled connection may have been closed: one more attempt.
        spare = unasked[:1]
        asked: dict[asyncio.Task[CachedProfile], Address] = {}
        waiting: set[asyncio.Task[CachedProfile]] = set()
        try:
            while unasked or waiting:
                if unasked:
                    address = unasked.pop(0)
                    task = asyncio.create_task(self._ask(address, user_id, call, deadline))
                    asked[task] = address
                    waiting.add(task)
                timeout = _PATIENCE if unasked else None
                done, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    slow_until = time.monotonic() + _SLOW_SECONDS
                    self._slow.update({asked[task]: slow_until for task in waiting})
                for task in done:
                    try:
                        return task.result()
                    except TimeoutError as error:
                        if not isinstance(error, aiohttp.ConnectionTimeoutError):
                            failure = DeadlineExceeded()
                    except aiohttp.ClientError:
                        # Refused, or closed: a read is safe to retry.
                        failure = Unavailable()
                        unasked += spare
                        spare = []
                    self._replicas.look_up_again()
            raise failure
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _in_turn(self) -> list[Address]:
        """All replicas, beginning with the next in turn; those that were slow a moment ago are last."""
        present, turn, now = self._replicas.present, next(self._turn), time.monotonic()
        in_turn = [present[(turn + number) % len(present)] for number in range(len(present))]
        return sorted(in_turn, key=lambda address: self._slow.get(address, 0.0) > now)

    async def _ask(self, address: Address, user_id: str, call: Call, deadline: float) -> CachedProfile:
        host, port = address
        scheme = "http" if self._tls is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/profiles/{user_id}"
        expected = None if self._tls is None else self._tls.target
        headers = call.metadata() | self._service_token(user_id, call)
        span = child(call.traceparent, SpanKind.CLIENT, "GET", _ROUTE)
        if span is None:
            return await self._request(url, headers, expected, deadline)
        failure = ""
        try:
            return await self._request(url, {**headers, TRACEPARENT: span.traceparent}, expected, deadline)
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            span.set("http.request.method", "GET")
            span.set("url.template", _ROUTE)
            span.end(failure)

    async def _request(
        self, url: str, headers: Mapping[str, str], expected: str | None, deadline: float
    ) -> CachedProfile:
        """`expected`: the name in the service's certificate; None without TLS."""
        assert self._session is not None
        response = self._session.get(url, headers=headers, server_hostname=expected)
        async with asyncio.timeout(deadline - time.monotonic()), response as answer:
            body = await answer.content.read(_LARGEST + 1)
            while len(body) <= _LARGEST and (more := await answer.content.read(_LARGEST + 1 - len(body))):
                body += more
            if answer.status != 200:
                raise _refusal(answer.status, body, answer.headers.get("Retry-After"))
            return CachedProfile(
                body, answer.headers.get("ETag", ""), _position(answer.headers.get("Vestnik-Position"))
            )

    def _service_token(self, user_id: str, call: Call) -> dict[str, str]:
        """Token of the gateway, in the user's name if they request their own profile.

        A user's own profile is served as soon as they have registered. All other reads share one token.
        """
        user = call.actor if call.actor == user_id else None
        return {"authorization": f"Bearer {self._issuer.token('profile', user)}"}


def _position(text: str | None) -> Position:
    try:
        return Position.decode(text or "")
    except Invalid:
        return Position()


def _refusal(status: int, body: bytes, retry_after: str | None) -> VestnikError:
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    kind = BY_CODE.get(refusal.code)
    if kind is Unauthenticated:
        # The service token was refused, which no client can do anything about.
        return Unavailable()
    if kind is not None:
        wait = int(retry_after) if retry_after is not None and retry_after.isdecimal() else None
        return kind(refusal.detail or None, retry_after=wait)
    if status == 404:
        return ProfileNotFound()
    return Unavailable() if status == 503 else VestnikError()
