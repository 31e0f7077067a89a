"""Watches a stream of a service for lost events, so that nothing is appended over them.

A server that lost the end of a stream goes on with the sequence behind what is left. An append would take the sequence,
and the number within its aggregate, that a lost event had, and replace it for everybody who has seen that one. So the
owner refuses appends while the stream lacks events: where it ends before a sequence that a read model has applied or
that this process has seen acknowledged, or where the server itself counts fewer messages than there are sequences.

The stream's leader is asked at the start, every few seconds, after each reconnection before anything is sent, and when
an acknowledgement names a sequence that was acknowledged before. While it is being found out whether a loss counts,
appends ask again once a second.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nats.aio.client import Client

from contracts.errors import HistoryLost, Unavailable
from streams.jetstream.api import JetStream, Refused, StreamInfo
from streams.jetstream.requests import NoAnswer, NoResponders, NotSent, RequestFailed
from streams.loss.missing_events import Gap, accepted, by_stream, named, unaccepted
from streams.metrics import LOST_EVENTS
from streams.quorum import Quorum

log = logging.getLogger(__name__)
# Seconds between two looks while nothing happens.
EVERY = 5.0
# A replica that has just come to lead may not have all of the stream yet: on a cluster a loss counts when it is
# reported again after so many seconds.
_CONFIRMED_AFTER = 5.0
# Seconds between two looks of an append while it is not known whether a loss counts.
_AGAIN_AFTER = 1.0

Checkpoint = Callable[[], Awaitable[int]]


class LossWatch:
    """One stream."""

    def __init__(
        self,
        nc: Client,
        stream: str,
        checkpoint: Checkpoint,
        *,
        quorum: Quorum | None = None,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        `checkpoint`: the highest sequence of the stream that a read model has applied, as far as is known.
        `quorum`: a loss counts only while this holds; None: a single node.
        `patience`: seconds for which the stream's leader is asked.
        """
        self._nc = nc
        self._jetstream = JetStream(nc, patience=patience)
        self._stream = stream
        self._checkpoint = checkpoint
        self._quorum = quorum
        self._clock = clock
        self._looking = asyncio.Lock()
        self._acknowledged = 0
        # The number of reconnections at the last look; None: look before anything is sent.
        self._looked_at: int | None = None
        self._refusal: HistoryLost | Unavailable | None = None
        # When the stream's leader has answered last.
        self._answered = 0.0
        # When the loss was first reported.
        self._since: float | None = None
        self._is_over = False
        LOST_EVENTS.labels(stream).set(0)

    def acknowledged(self, first: int, last: int) -> None:
        """An append of this process was stored at these sequences."""
        if first <= self._acknowledged:
            # Acknowledgements may overtake each other, too.
            self._looked_at = None
        self._acknowledged = max(self._acknowledged, last)

    async def assert_whole(self) -> None:
        """Before anything is sent to the stream.

        Raises:
            HistoryLost: the stream lacks events.
            Unavailable: it may; that is being found out.
            DeliveryFailed: the stream's leader does not tell.
        """
        if self._has_to_look:
            async with self._looking:
                # Others who wait to send have looked meanwhile.
                if self._has_to_look:
                    await self._look()
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)

    async def run(self) -> None:
        """Looks at once and every few seconds; returns when a loss that this process had noticed is over.

        The process may remember what is lost, and has to be started again before it appends.
        """
        while not self._is_over:
            with suppress(RequestFailed):
                # While the server is away nothing can be appended; the next look tells.
                await self.look()
            if not self._is_over:
                await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Asks the stream's leader what there is.

        Raises:
            DeliveryFailed: it does not tell; nothing was sent to the stream.
        """
        async with self._looking:
            await self._look()

    @property
    def _has_to_look(self) -> bool:
        return (
            self._looked_at != self._nc.stats["reconnects"]
            or not self._nc.is_connected
            or (isinstance(self._refusal, Unavailable) and self._clock() - self._answered >= _AGAIN_AFTER)
        )

    async def _look(self) -> None:
        reconnects = self._nc.stats["reconnects"]
        # Before the stream is asked: whatever is known by then is in what it answers, if it is whole.
        known = max(self._acknowledged, await self._checkpoint())
        counts = self._quorum is None or self._quorum.holds
        try:
            info = await self._jetstream.info(self._stream)
            if info.state.messages != info.state.last_seq:
                info = await self._jetstream.info(self._stream, deleted=True)
        except (NoAnswer, NoResponders, Refused) as failure:
            raise NotSent from failure
        self._conclude(info, known, counts=counts and (self._quorum is None or self._quorum.holds))
        self._looked_at = reconnects

    def _conclude(self, info: StreamInfo, known: int, *, counts: bool = True) -> None:
        """`counts`: whether the leader that reported it is known to have a quorum."""
        self._answered = self._clock()
        gaps = undecided(self._stream, info, known)
        if not gaps:
            if isinstance(self._refusal, HistoryLost):
                self._is_over = True
                return
            self._refusal = self._since = None
            LOST_EVENTS.labels(self._stream).set(0)
            return
        if not isinstance(self._refusal, HistoryLost) and not self._is_confirmed(info, counts):
            self._refusal = Unavailable("Whether a stream has lost events is being found out.", retry_after=1)
            return
        if not isinstance(self._refusal, HistoryLost):
            log.critical(
                "%s has lost events that were acknowledged: %s. Nothing is appended to it; see the runbook"
                " docs/runbooks/history-lost.md",
                self._stream,
                named(gaps),
            )
        # Without the gaps: clients are shown no stream and no sequence.
        self._refusal = HistoryLost(retry_after=60)
        LOST_EVENTS.labels(self._stream).set(sum(map(len, gaps)))

    def _is_confirmed(self, info: StreamInfo, counts: bool) -> bool:
        """Whether a loss that was just reported is one: on a cluster when it was reported long enough before, too."""
        if self._quorum is None and info.config.get("num_replicas", 1) == 1:
            return True
        if not counts:
            return False
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= _CONFIRMED_AFTER


def undecided(stream: str, info: StreamInfo, known: int) -> list[Gap]:
    """What the stream lacks and no operator has given up; `info` and `known` as for `lost`.

    A decision holds up to the stream's end: behind it the placeholders that were filled in are lost in their turn.
    """
    gaps = unaccepted(lost(stream, info, 0), {stream: accepted(info.config)})
    if info.state.last_seq < known:
        gaps.append(Gap(stream, info.state.last_seq + 1, known))
    return by_stream(gaps).get(stream, [])


def lost(stream: str, info: StreamInfo, known: int) -> list[Gap]:
    """What the stream lacks.

    `info`: with the deleted sequences, where there are fewer messages than sequences.
    `known`: the highest sequence that the stream is known to have had.
    """
    state = info.state
    gaps = [Gap(stream, sequence, sequence) for sequence in state.deleted or ()]
    if state.last_seq and state.first_seq > 1:
        gaps.append(Gap(stream, 1, state.first_seq - 1))
    if state.last_seq < known:
        gaps.append(Gap(stream, state.last_seq + 1, known))
    return by_stream(gaps).get(stream, [])
