"""Revoked sessions whose access tokens have not expired yet, read from the session stream.

A check makes no call, and a token stops working within moments of `session.revoked`. Code that holds something open
for a session, such as a live stream, watches the session here and is notified.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
from nats.aio.client import Client as NATS

from contracts import catalogue
from contracts.events.session import SessionRevoked
from contracts.subjects import SESSION
from infra.operator_errors import OperatorError
from services.gateway.consistency.stream_follower import SILENCE_SECONDS, StreamFollower, StreamListener, from_time
from services.gateway.security.steady_time import SteadyTime
from streams.message import Message
from streams.personal_data.reading import PersonalData
from streams.quorum import Quorum

log = logging.getLogger(__name__)
# Seconds, for clock skew.
MARGIN = 60
# Seconds for which the clock must stay back before the process ends.
_CLOCK_PATIENCE = 5.0
_CHECK_SECONDS = 0.25


class ClockWentBack(OperatorError):
    """The machine's clock went back, and stayed there."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the clock went back by {seconds:.0f} s: this process starts again, to read which sessions have ended"
        )


# Called once: with the reason for the end, or with None if the session's state is no longer known.
OnEnd = Callable[[str | None], None]


class _Ending(msgspec.Struct, frozen=True):
    # When the session's last token has expired, on the monotonic clock: a wall clock may jump.
    forget_at: float
    reason: str


class Revocations:
    """Sessions that ended within the lifetime of an access token; older entries are dropped."""

    def __init__(
        self,
        nats: NATS,
        *,
        access_token_seconds: int,
        name: str,
        silence: float = SILENCE_SECONDS,
        quorum: Quorum | None = None,
        steady_time: SteadyTime | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        `steady_time`: the one that access tokens are checked with.
        `silence`: seconds without having reached the stream's end after which this is not `alive`.
        `quorum`: without it for as long, this is not `alive` either: the node's copy of the stream may be stale.
        """
        self._silence = silence
        self._quorum = quorum
        self._life = access_token_seconds + MARGIN
        self._steady_time = steady_time or SteadyTime()
        self._monotonic = monotonic
        # Ordered by expiry.
        self._ended: dict[str, _Ending] = {}
        self._watchers: dict[str, set[OnEnd]] = {}
        self._follower = StreamFollower(
            nats,
            SESSION,
            start=from_time(self._since),
            handle=self._handle,
            name=name,
            silence=silence,
            # Which sessions have ended must be known without keys.
            personal_data=PersonalData.EMPTY,
        )

    @property
    def alive(self) -> bool:
        return self._follower.alive and (self._quorum is None or self._quorum.seen_within(self._silence))

    def __contains__(self, session_id: object, /) -> bool:
        return session_id in self._ended

    def __len__(self) -> int:
        return len(self._ended)

    def listen(self, listener: StreamListener) -> None:
        """Sets a listener that shares this stream consumer; call it before `run`."""
        self._follower.listener = listener

    async def run(self) -> None:
        """Follows the stream until cancelled.

        Raises:
            ExceptionGroup: with `ClockWentBack`, which ends the process.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follower.run())
            group.create_task(self._watch_stream_lag())
            group.create_task(self.watch_clock())

    def add(self, session_id: str, reason: str) -> None:
        """Refuses the session's tokens from now on and notifies its watchers."""
        now = self._monotonic()
        # Pop first: the map is ordered by expiry.
        self._ended.pop(session_id, None)
        self._ended[session_id] = _Ending(now + self._life, reason)
        self._forget(now)
        self._notify(session_id, reason)

    @contextmanager
    def watch_session(self, session_id: str, on_end: OnEnd) -> Iterator[None]:
        """While open, calls `on_end` once when the session ends; immediately if it has already ended.

        `on_end` gets None when the session stream is unreachable for too long: it is then unknown whether the session
        still exists, and the caller must close what it holds open for it.
        """
        ending = self._ended.get(session_id)
        if ending is not None:
            on_end(ending.reason)
            yield
            return
        self._watchers.setdefault(session_id, set()).add(on_end)
        try:
            yield
        finally:
            watchers = self._watchers.get(session_id, set())
            watchers.discard(on_end)
            if not watchers:
                self._watchers.pop(session_id, None)

    def _notify(self, session_id: str, reason: str | None) -> None:
        for on_end in self._watchers.pop(session_id, set()):
            on_end(reason)

    async def _watch_stream_lag(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self._watchers and not self.alive:
                log.warning("the session stream is unreachable: closing %d live connections", len(self._watchers))
                for session_id in list(self._watchers):
                    self._notify(session_id, None)

    async def watch_clock(self, every: float = 1.0) -> None:
        """Watches the clock until cancelled.

        While the clock is back, time goes on for tokens as if it were not. If that lasts, the earlier time is the right
        one: tokens of that time count. The ends of their sessions may have been forgotten, so they are read again.

        Raises:
            ClockWentBack: it has lasted for some seconds.
        """
        since: float | None = None
        while True:
            ahead = self._steady_time.ahead
            if ahead < MARGIN:
                since = None
            elif since is None:
                since = self._monotonic()
                log.warning("the clock went back by %.0f s; tokens are checked without that", ahead)
            elif self._monotonic() - since > _CLOCK_PATIENCE:
                raise ClockWentBack(ahead)
            await asyncio.sleep(every)

    def _since(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self._life)

    def _handle(self, message: Message) -> None:
        try:
            envelope = message.envelope()
            if envelope.type != SessionRevoked.TYPE:
                return
            event = catalogue.decode(envelope.type, envelope.schema, envelope.data)
        except (msgspec.DecodeError, LookupError):
            # From a newer release, or broken. A session's end must not be missed, so the session is refused.
            log.exception("event %d of %s cannot be read: its session is refused", message.sequence, message.stream)
            self.add(message.subject.rpartition(".")[2], "")
            return
        assert isinstance(event, SessionRevoked)
        self.add(envelope.aggregate_id, event.reason)

    def _forget(self, now: float) -> None:
        while self._ended:
            session_id = next(iter(self._ended))
            if self._ended[session_id].forget_at > now:
                return
            del self._ended[session_id]
