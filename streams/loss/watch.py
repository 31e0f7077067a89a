"""Watches a stream of a service for lost events, so that no append replaces them.

A server that lost the end of a stream continues with the sequence after the remaining events. An append would get the
sequence, and the version within its aggregate, of a lost event, and replace it for all readers that have seen that
event. So the owner refuses appends while the stream lacks events: if it ends before a sequence that a read model has
applied or that this process has seen acknowledged, or if the server itself counts fewer messages than sequences.

The stream's leader is checked at the start, every few seconds, after each reconnection before anything is sent, and
when an acknowledgement names a sequence that was acknowledged before. While it is unknown whether a loss counts,
appends repeat the check once a second.
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
from streams.metrics import LOST_EVENTS, STORED_BYTES
from streams.quorum import Quorum

log = logging.getLogger(__name__)
# Seconds between two periodic checks.
EVERY = 5.0
# A new leader may not have the whole stream yet: on a cluster a loss counts when it is reported again after this many
# seconds.
_CONFIRMED_AFTER = 5.0
# Seconds between two checks of an append while it is unknown whether a loss counts.
_AGAIN_AFTER = 1.0

Checkpoint = Callable[[], Awaitable[int]]


class LossWatch:
    """Watches one stream."""

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
        `checkpoint`: the highest sequence of the stream known to be applied by a read model.
        `quorum`: a loss counts only while this holds; None: a single node.
        `patience`: seconds to wait for the stream's leader.
        """
        self._nc = nc
        self._jetstream = JetStream(nc, patience=patience)
        self._stream = stream
        self._checkpoint = checkpoint
        self._quorum = quorum
        self._clock = clock
        self._checking = asyncio.Lock()
        self._acknowledged = 0
        # The number of reconnections at the last check; None: check before anything is sent.
        self._checked_at_reconnect: int | None = None
        # Whether an acknowledgement has named an earlier sequence since the last check began.
        self._is_doubtful = False
        self._refusal: HistoryLost | Unavailable | None = None
        # When the stream's leader last answered.
        self._answered = 0.0
        # When the loss was first reported.
        self._since: float | None = None
        self._is_over = False
        LOST_EVENTS.labels(stream).set(0)

    def acknowledged(self, first: int, last: int) -> None:
        """Records that an append of this process was stored at these sequences."""
        if first <= self._acknowledged:
            # A possible loss; acknowledgements may also overtake each other.
            self._checked_at_reconnect, self._is_doubtful = None, True
        self._acknowledged = max(self._acknowledged, last)

    async def assert_whole(self) -> None:
        """Checks the stream if necessary; to be called before anything is sent to it.

        Raises:
            HistoryLost: the stream lacks events.
            Unavailable: it may lack events; that is not confirmed yet, or its checkpoints are not known yet.
            RequestFailed: the stream's leader did not answer.
        """
        if self._must_check:
            async with self._checking:
                # Another append may have checked meanwhile.
                if self._must_check:
                    await self._check()
        if self._refusal is not None:
            raise self._refusal.with_traceback(None)

    async def run(self) -> None:
        """Checks immediately and every few seconds; returns when a loss that this process had noticed is over.

        The process may have lost events in memory and has to be restarted before it appends.
        """
        while not self._is_over:
            with suppress(RequestFailed, Unavailable):
                # While a server is unreachable nothing can be appended; the next check will tell.
                await self.check()
            if not self._is_over:
                await asyncio.sleep(EVERY)

    async def check(self) -> None:
        """Checks the state of the stream on its leader.

        Raises:
            RequestFailed: the leader did not answer; nothing was sent to the stream.
            Unavailable: its checkpoints are not known yet.
        """
        async with self._checking:
            await self._check()

    @property
    def _must_check(self) -> bool:
        return (
            self._checked_at_reconnect != self._nc.stats["reconnects"]
            or not self._nc.is_connected
            or (isinstance(self._refusal, Unavailable) and self._clock() - self._answered >= _AGAIN_AFTER)
        )

    async def _check(self) -> None:
        reconnects = self._nc.stats["reconnects"]
        self._is_doubtful = False
        # Read before the request: a whole stream has all that is known by then.
        known = max(self._acknowledged, await self._checkpoint())
        counts = self._quorum is None or self._quorum.holds
        try:
            info = await self._jetstream.info(self._stream)
            if info.state.messages != info.state.last_seq:
                info = await self._jetstream.info(self._stream, deleted=True)
        except (NoAnswer, NoResponders, Refused) as failure:
            raise NotSent from failure
        STORED_BYTES.labels(self._stream).set(info.state.bytes)
        self._conclude(info, known, counts=counts and (self._quorum is None or self._quorum.holds))
        # What the stream's leader said may be older than the acknowledgement.
        self._checked_at_reconnect = None if self._is_doubtful else reconnects

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
            self._refusal = Unavailable("A stream is being checked for lost events.", retry_after=1)
            return
        if not isinstance(self._refusal, HistoryLost):
            log.critical(
                "%s has lost events that were acknowledged: %s. Nothing is appended to it; see the runbook"
                " docs/runbooks/history-lost.md",
                self._stream,
                named(gaps),
            )
        # Without the gaps: clients must not see streams and sequences.
        self._refusal = HistoryLost(retry_after=60)
        LOST_EVENTS.labels(self._stream).set(sum(map(len, gaps)))

    def _is_confirmed(self, info: StreamInfo, counts: bool) -> bool:
        """Whether a reported loss counts: on a cluster only if it was also reported long enough before."""
        if self._quorum is None and info.config.get("num_replicas", 1) == 1:
            return True
        if not counts:
            return False
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= _CONFIRMED_AFTER


def undecided(stream: str, info: StreamInfo, known: int) -> list[Gap]:
    """The gaps of the stream that no operator has accepted; `info` and `known` as for `lost`.

    A decision applies up to the stream's end: after it the placeholders are lost, too.
    """
    gaps = unaccepted(lost(stream, info, 0), {stream: accepted(info.config)})
    if info.state.last_seq < known:
        gaps.append(Gap(stream, info.state.last_seq + 1, known))
    return by_stream(gaps).get(stream, [])


def lost(stream: str, info: StreamInfo, known: int) -> list[Gap]:
    """The gaps of the stream.

    `info`: with the deleted sequences, if there are fewer messages than sequences.
    `known`: the highest sequence that the stream is known to have had.
    """
    state = info.state
    # NATS reports the sequence 0, which no event has, as deleted from a stream that is empty.
    gaps = [Gap(stream, sequence, sequence) for sequence in state.deleted or () if sequence]
    if state.last_seq and state.first_seq > 1:
        gaps.append(Gap(stream, 1, state.first_seq - 1))
    if state.last_seq < known:
        gaps.append(Gap(stream, state.last_seq + 1, known))
    return by_stream(gaps).get(stream, [])
