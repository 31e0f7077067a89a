"""Appends events until their outcome is known or the time is over, alone or in batches shared with other appends."""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from contracts.errors import DeadlineExceeded, HistoryLost, OutOfSpace, Overloaded, Unavailable
from contracts.tracing import spans
from streams.appending.append import Append
from streams.appending.outcomes import Outcomes
from streams.appending.sender import Sender
from streams.batching.append_spans import AppendSpans
from streams.batching.group_commit import Attempt, GroupCommit
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.publish_ack import Ack, needs_lookup, outcome_is_unknown
from streams.jetstream.requests import Denied, RequestFailed
from streams.loss.watch import LossWatch
from streams.metrics import measure_batch

_LOG = logging.getLogger(__name__)
# Seconds: the limit of one attempt, and the pause before the next.
_ATTEMPT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Appender:
    def __init__(
        self,
        jetstream: JetStream,
        *,
        patience: float,
        stream_of: Callable[[str], str],
        group_commit: bool,
        watches: Mapping[str, LossWatch],
        under_way: AppendSpans,
    ) -> None:
        """Parameters as of `Log`; `under_way`: the spans of the appends."""
        self._sender = Sender(jetstream.inbox, stream_of)
        self._outcomes = Outcomes(jetstream, stream_of)
        self._patience = patience
        self._stream_of = stream_of
        self._group_commit = group_commit
        self._groups: dict[str, GroupCommit[Append]] = {}
        self._watches = watches
        self._spans = under_way
        # Whether the last event was refused for lack of space.
        self._is_full = False

    async def append(self, stream: str, appends: Sequence[Append]) -> list[int]:
        """Appends events on one subject, alone or in a batch shared with other appends."""
        send = self._sender.one if len(appends) == 1 else self._sender.together
        if not self._group_commit:
            return await self._append_with_retry(appends, send)
        group = self._groups.get(stream)
        if group is None:
            group = self._groups[stream] = GroupCommit(self._try_together, _subject)
        deadline = time.monotonic() + self._patience
        try:
            attempt = await group.acquire(appends, deadline)
        except TimeoutError as error:
            raise Unavailable from error
        if attempt.sequence is not None:
            return list(range(attempt.sequence, attempt.sequence + len(appends)))
        begun, took = time.monotonic(), None
        try:
            stored = await self._append_with_retry(appends, send, uncertain=attempt.uncertain, deadline=deadline)
            if len(appends) == 1 and not attempt.uncertain:
                took = time.monotonic() - begun
            return stored
        finally:
            group.release(took)

    async def append_atomically(self, appends: Sequence[Append]) -> list[int]:
        """Appends events on several subjects, all or none, in a batch of their own."""
        return await self._append_with_retry(appends, self._sender.together)

    async def _append_with_retry(
        self,
        appends: Sequence[Append],
        send: Callable[[Sequence[Append], float], Awaitable[Ack]],
        *,
        uncertain: bool = False,
        deadline: float | None = None,
    ) -> list[int]:
        """Retries until the outcome is known or the deadline has passed.

        `uncertain`: whether an earlier attempt may have taken effect, or may still do so.
        """
        deadline = deadline or time.monotonic() + self._patience
        pause = _FIRST_PAUSE
        watch = self._watches.get(self._stream_of(appends[0].subject))
        why: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if uncertain and (stored := await self._look_up(deadline, appends, watch)) is not None:
                    return stored
                if watch is not None:
                    await watch.assert_whole()
                # Computed here: a look-up may have taken most of the time.
                if (left := deadline - time.monotonic()) <= 0:
                    break
                ack = await send(appends, min(left, _ATTEMPT))
                if ack.error is None and not ack.duplicate:
                    self._report_space(False)
                    first = ack.seq - len(appends) + 1
                    if watch is not None:
                        watch.acknowledged(first, ack.seq)
                    return list(range(first, ack.seq + 1))
                uncertain = outcome_is_unknown(ack, uncertain)
                if needs_lookup(ack) and (stored := await self._look_up(deadline, appends, watch)) is not None:
                    return stored
            except Denied as denied:
                raise PermissionError(f"no right to append to {appends[0].subject}") from denied
            except (Overloaded, HistoryLost, Unavailable) as refusal:
                if isinstance(refusal, OutOfSpace):
                    self._report_space(True)
                # This refers to the last attempt; an earlier one may have been stored while there was space.
                if uncertain:
                    raise DeadlineExceeded from refusal
                raise
            except RequestFailed as failure:
                uncertain = uncertain or failure.uncertain
                why = failure
                if failure.final:
                    break
            except Refused as refused:
                # While a cluster elects a leader, the lookup is refused too.
                if not refused.may_pass:
                    raise
                why = refused
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if uncertain:
            raise DeadlineExceeded from why
        raise Unavailable from why

    async def _look_up(self, deadline: float, appends: Sequence[Append], watch: LossWatch | None) -> list[int] | None:
        stored = await self._outcomes.resolve_by(deadline, appends)
        if stored is not None and watch is not None:
            watch.acknowledged(stored[0], stored[-1])
        return stored

    def _report_space(self, is_full: bool) -> None:
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            _LOG.error("the event store has no space left and refuses events; see docs/runbooks/out-of-space.md")
        else:
            _LOG.info("the event store accepts events again")

    async def _try_together(self, appends: list[Sequence[Append]]) -> list[Attempt]:
        """Makes one attempt at a batch of unrelated appends; those not stored are then settled one by one."""
        uncertain = False
        events = [event for append in appends for event in append]
        stream = self._stream_of(events[0].subject)
        measure_batch(stream, len(events))
        if spans.is_on():
            self._spans.share([append[0].envelope.id for append in appends], len(events))
        watch = self._watches.get(stream)
        try:
            if watch is not None:
                await watch.assert_whole()
            ack = await self._sender.batch(events, _ATTEMPT)
            if ack.error is None and not ack.duplicate:
                self._report_space(False)
                if watch is not None:
                    watch.acknowledged(ack.seq - len(events) + 1, ack.seq)
                firsts = itertools.accumulate(map(len, appends), initial=ack.seq - len(events) + 1)
                return [Attempt(first) for first, _ in zip(firsts, appends, strict=False)]
            uncertain = outcome_is_unknown(ack, uncertain)
        except RequestFailed as failure:
            uncertain = failure.uncertain
        except (Refused, Overloaded, HistoryLost, Unavailable, ValueError):
            pass
        return [Attempt(uncertain=uncertain)] * len(appends)


def _subject(append: Append) -> str:
    return append.subject
