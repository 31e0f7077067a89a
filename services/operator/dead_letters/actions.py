"""Lists, shows, retries and discards dead letters for the page, with the code that the command line runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import VestnikError
from infra.operator_errors import OperatorError
from infra.security.service_schemas import CachedSchemas
from projections.engine.dead_letters import discards, queries, resolution
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import DeadLetterFilter
from projections.engine.dead_letters.retry import retry_all, retry_behind
from projections.engine.projection import Projection
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import LetterId
from projections.engine.storage.operator_connection import operator_connection
from projections.registry import choose
from services.operator.actions.recorder import Act
from services.operator.dead_letters.parked_events import ReactionLetters, to_letter
from services.operator.dead_letters.views import Letter, LetterWithEvent, event_of, of_discard, of_letter
from services.operator.redaction import redact
from streams.jetstream.api import JetStream
from streams.log import Log
from streams.reactions.parked import ParkedId

# Seconds to wait for a stream, since a build's writer may be waiting for us meanwhile.
PATIENCE = 5.0
_ALL = DeadLetterFilter(projections=None, state=None, type=None, aggregate_id=None)


class LettersFound(msgspec.Struct, frozen=True):
    items: list[Letter]
    # Whether there are more.
    more: bool
    # Why those of projections or of reactions cannot be read, if others can.
    missing: str = ""


class DeadLetters:
    """Queries of dead letters and actions on them."""

    def __init__(self, nc: NATS, log: Log, schemas: CachedSchemas) -> None:
        self._nc = nc
        self._jetstream = JetStream(nc, patience=PATIENCE)
        self._log = log
        self._schemas = schemas
        self._reactions = ReactionLetters(nc, patience=PATIENCE, retried_within=PATIENCE)
        # One action at a time: concurrent ones would only wait for each other in the database.
        self._turn = asyncio.Lock()

    async def _of_projections(self, *, discarded: bool, limit: int) -> list[Letter]:
        """One more than the limit if there are more."""
        if discarded:
            return [of_discard(discard) for discard in await queries.discarded(self._nc, _ALL)][: limit + 1]
        letters: list[Letter] = []
        for database_url in (await self._schemas.get()).urls():
            async with (
                operator_connection(database_url, "operator") as conn,
                aclosing(queries.list_dead_letters(conn, _ALL)) as source,
            ):
                async for letter in source:
                    if len(letters) > limit:
                        return letters
                    letters.append(of_letter(letter))
        return letters

    async def _of_reactions(self, *, discarded: bool, limit: int) -> list[Letter]:
        """As `_of_projections`."""
        letters: list[Letter] = []
        async with aclosing(self._reactions.list(discarded=discarded)) as parked_events:
            async for parked in parked_events:
                if len(letters) > limit:
                    break
                letters.append(to_letter(parked))
        return letters

    async def list(self, *, discarded: bool, limit: int) -> LettersFound:
        """Dead letters of the builds in use and of reactions, or the discarded ones.

        Where both are many, each gets half of the limit. If only one kind can be read, the other is missing.

        Raises:
            OperatorError, VestnikError: neither can be read.
        """
        kinds: list[list[Letter]] = []
        failures: list[OperatorError | VestnikError] = []
        for read in (self._of_projections, self._of_reactions):
            try:
                kinds.append(await read(discarded=discarded, limit=limit))
            except (OperatorError, VestnikError) as failure:
                kinds.append([])
                failures.append(failure)
        if len(failures) == len(kinds):
            raise failures[0]
        letters, parked = kinds
        items = letters[: max(limit // 2, limit - len(parked))]
        items += parked[: limit - len(items)]
        return LettersFound(items, more=len(letters) + len(parked) > len(items), missing="".join(map(str, failures)))

    async def get(self, letter_id: LetterId | ParkedId) -> LetterWithEvent:
        """Returns a dead letter with its event, personal fields redacted.

        Raises:
            NoSuchLetter, NoSuchParkedEvent: it does not exist, or no longer.
            UnknownProjection: its projection does not exist.
        """
        if isinstance(letter_id, ParkedId):
            parked = await self._reactions.get(letter_id, raw=False)
            return parked if parked.event is None else msgspec.structs.replace(parked, event=redact(parked.event))
        async with self._connection_for(_projection(letter_id)) as conn:
            row = await queries.get_dead_letter(conn, letter_id)
        try:
            event, why = await event_of(self._jetstream, row, raw=False)
        except OperatorError as failure:
            event, why = None, str(failure)
        letter = of_discard(row) if isinstance(row, Discarded) else of_letter(row)
        return LetterWithEvent(
            **msgspec.structs.asdict(letter), event=None if event is None else redact(event), event_error=why
        )

    async def retry(self, letter_id: LetterId | ParkedId) -> Retried:
        """Retries a dead letter and those parked behind it. Applied events stay applied, however this ends.

        Raises:
            OperatorError: there is no such failed dead letter.
            UnknownProjection: its projection does not exist.
        """
        if isinstance(letter_id, ParkedId):
            return await self._reactions.retry(await self._reactions.retryable(letter_id))
        projection = _projection(letter_id)
        async with self._turn, self._connection_for(projection) as conn:
            letter = await resolution.retryable_letter(conn, letter_id)
            (retried,) = await retry_all(conn, self._log, [(projection, letter)])
            return retried

    async def discard(self, letter_id: LetterId | ParkedId, reason: str, act: Act) -> Retried:
        """Discards a dead letter permanently, with the reason and the operator's name; then retries those behind it.

        The act is final with the discard, whatever the outcome for those behind it.

        Raises: as `retry` does.
        """
        if isinstance(letter_id, ParkedId):
            parked = await self._reactions.retryable(letter_id)
            return await self._reactions.discard(parked, reason, act.actor.recorded_name)
        projection = _projection(letter_id)
        async with self._turn, self._connection_for(projection) as conn:
            letter = await resolution.retryable_letter(conn, letter_id)
            await resolution.discard(conn, self._log, letter, reason, act.actor.recorded_name)
            act.is_final = True
            return await retry_behind(conn, self._log, projection, letter)

    @asynccontextmanager
    async def _connection_for(self, projection: type[Projection]) -> AsyncIterator[Connection]:
        """A connection for the projection's service, with its discards caught up from the stream."""
        database_url = (await self._schemas.get()).url(projection.run_by())
        async with operator_connection(database_url, "operator") as conn:
            await discards.catch_up(conn, self._nc, projection.name)
            yield conn


def _projection(letter_id: LetterId) -> type[Projection]:
    (projection,) = choose((letter_id.projection,))
    return projection
