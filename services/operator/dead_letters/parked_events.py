"""Parked events of reactions as dead letters: lists, shows, retries and discards them; no database is needed."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

import msgspec
from nats.aio.client import Client as NATS

from contracts.durable_consumers import DURABLES
from contracts.errors import Unavailable
from contracts.subjects import REACTING_SERVICES
from infra.operator_errors import OperatorError
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.storage.dead_letters import aggregate_of
from services.operator.dead_letters.views import Discard, Letter, LetterWithEvent, event_of
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import Changed
from streams.reactions.parked import ParkedEvent, ParkedEvents, ParkedId

REACTIONS = {durable.name: durable for durable in DURABLES}
# Seconds between two looks at what became of a retry.
_CHECK_SECONDS = 0.1
_STATES = {"parked": "failed"}


class NoSuchParkedEvent(OperatorError):
    """The reaction has no parked event of this id."""

    def __init__(self, parked: ParkedId) -> None:
        known = "no such event is parked" if parked.reaction in REACTIONS else f"there is no reaction {parked.reaction}"
        super().__init__(f"there is no dead letter {parked}: {known}")


class AlreadySettled(OperatorError):
    """The parked event was retried successfully, or discarded, before."""

    def __init__(self, parked: ParkedEvent) -> None:
        how = f"discarded by {parked.discarded_by}: {parked.reason}" if parked.discarded_at else "applied by a retry"
        super().__init__(f"{parked.id} was {how}")


class ChangedMeanwhile(OperatorError):
    """Another operator, or the reaction, has changed the parked event."""

    def __init__(self, parked: ParkedId) -> None:
        super().__init__(f"{parked} was changed by another operator or by its reaction: look at it again")


class ReactionLetters:
    """The parked events of all services."""

    def __init__(self, nc: NATS, *, patience: float, retried_within: float) -> None:
        """`patience`: seconds to wait for the event store. `retried_within`: for the outcome of a retry."""
        self._jetstream = JetStream(nc, patience=patience)
        self._by_service = {service: ParkedEvents(nc, service, patience=patience) for service in REACTING_SERVICES}
        self._retried_within = retried_within

    async def list(
        self, reactions: Collection[str] | None = None, *, discarded: bool = False
    ) -> AsyncGenerator[ParkedEvent, None]:
        """The parked events of these reactions, or of all; or the discarded ones.

        Raises:
            OperatorError: the event store does not answer.
        """
        services = {REACTIONS[name].service for name in reactions} if reactions is not None else REACTING_SERVICES
        for service in sorted(services):
            async with aclosing(self._by_service[service].all()) as events:
                try:
                    async for parked in events:
                        is_listed = parked.state == "discarded" if discarded else not parked.is_settled
                        if is_listed and (reactions is None or parked.reaction in reactions):
                            yield parked
                except Unavailable as error:
                    raise OperatorError("NATS does not answer; the parked events are unknown") from error

    async def get(self, parked_id: ParkedId, *, raw: bool) -> LetterWithEvent:
        """
        Raises:
            NoSuchParkedEvent: it does not exist.
            OperatorError: it cannot be read.
        """
        letter = to_letter(await self.find(parked_id))
        event, why = await event_of(self._jetstream, letter, raw=raw)
        return LetterWithEvent(**msgspec.structs.asdict(letter), event=event, event_error=why)

    async def find(self, parked_id: ParkedId) -> ParkedEvent:
        """
        Raises:
            NoSuchParkedEvent: it does not exist.
            OperatorError: it cannot be read.
        """
        durable = REACTIONS.get(parked_id.reaction)
        try:
            parked = None if durable is None else await self._by_service[durable.service].get(parked_id)
        except Unavailable as error:
            raise OperatorError("NATS does not answer; the parked event is unknown") from error
        if parked is None:
            raise NoSuchParkedEvent(parked_id)
        return parked

    async def retryable(self, parked_id: ParkedId) -> ParkedEvent:
        """
        Raises:
            AlreadySettled: it was settled before.
            OperatorError: as `find` does.
        """
        parked = await self.find(parked_id)
        if parked.is_settled:
            raise AlreadySettled(parked)
        return parked

    async def retry(self, parked: ParkedEvent) -> Retried:
        """Has the reaction attempt the event once, and waits for the outcome.

        Raises:
            ChangedMeanwhile: it is not attempted because of this.
            Unavailable: it is unknown whether it is attempted.
        """
        events = self._by_service[REACTIONS[parked.reaction].service]
        try:
            requested = await events.request_retry(parked)
        except Changed as error:
            raise ChangedMeanwhile(parked.id) from error
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._retried_within
        while loop.time() < deadline:
            now = await events.get(parked.id)
            if now is not None and now.revision != requested.revision:
                return _outcome(now)
            await asyncio.sleep(_CHECK_SECONDS)
        return _outcome(requested)

    async def discard(self, parked: ParkedEvent, reason: str, by: str) -> Retried:
        """
        Raises:
            ChangedMeanwhile: it is not discarded.
            Unavailable: it is unknown whether it is discarded.
        """
        events = self._by_service[REACTIONS[parked.reaction].service]
        try:
            return _outcome(await events.discard(parked, reason, by))
        except Changed as error:
            raise ChangedMeanwhile(parked.id) from error


def to_letter(parked: ParkedEvent) -> Letter:
    return Letter(
        kind="reaction",
        id=str(parked.id),
        projection=parked.reaction,
        version=0,
        build=0,
        stream=parked.stream,
        sequence=parked.sequence,
        subject=parked.subject,
        aggregate_id=aggregate_of(parked.subject),
        type=parked.type,
        state=_STATES.get(parked.state, parked.state),
        error=parked.error,
        attempts=parked.attempts,
        tried_at=parked.tried_at,
        at=parked.parked_at,
        waiting=0,
        behind=None,
        discard=None
        if parked.discarded_at is None
        else Discard(parked.reason, parked.discarded_by, parked.discarded_at),
    )


def _outcome(parked: ParkedEvent) -> Retried:
    match parked.state:
        case "applied":
            outcome, reason = "applied", None
        case "discarded":
            outcome, reason = "discarded", f"discarded: {parked.reason}"
        case "retrying":
            outcome, reason = "requested", "the reaction has not attempted it yet; it does so as soon as it can"
        case _:
            outcome, reason = "failed", parked.error
    applied = int(parked.state == "applied")
    left = int(not parked.is_settled)
    return Retried(
        id=str(parked.id),
        outcome=outcome,
        applied=applied,
        left=left,
        failed_id=str(parked.id) if left else None,
        reason=reason,
    )
