"""Routes of the events that a projection could not apply, or a reaction has parked."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.operator.v1 import (
    DiscardDeadLetterRequest,
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    RetryDeadLetterRequest,
)
from services.gateway.http.endpoint import AnyEndpoint, NoBody, NoQuery, Request, Response
from services.gateway.routes.operators.events import StreamEvent
from services.gateway.routes.operators.operator_route import Limit, Time, operator_client, operator_route, reply

LetterId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="As `conversations.v1.b2.MESSAGING.17` or, of a reaction, `profile-creation.AUTH.17`.",
    ),
]


class Discarding(msgspec.Struct, frozen=True):
    reason: str
    by: str
    at: Time


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    kind: Annotated[Literal["projection", "reaction"], Meta(description="What could not apply it.")] = "projection"
    id: str
    projection: Annotated[str, Meta(description="The name of the projection or the reaction.")]
    version: Annotated[int, Meta(description="Of the projection; 0 of a reaction.")]
    build: Annotated[int, Meta(description="Of the projection; 0 of a reaction.")]
    stream: str
    sequence: int
    subject: str
    aggregate_id: str
    type: str
    state: Annotated[
        str,
        Meta(
            description="`failed`, `parked` (waits for a failed one), `discarded`, or of a reaction"
            " `retrying` (its outcome is not known yet)."
        ),
    ]
    error: str
    attempts: int | None
    tried_at: Time | None
    at: Time | None
    waiting: Annotated[int | None, Meta(description="Number of events that wait for it.")]
    behind: Annotated[str | None, Meta(description="The id of the dead letter that it waits for.")]
    discard: Discarding | None
    row: Annotated[
        str | None, Meta(description="The table and key of the row that waits, if it is folded into one.")
    ] = None


class DeadLetterAndEvent(DeadLetter, frozen=True, kw_only=True):
    event: StreamEvent | None
    event_error: Annotated[str | None, Meta(description="Why the event cannot be shown.")]


class DeadLetters(msgspec.Struct, frozen=True):
    items: list[DeadLetter]
    more: bool
    missing: Annotated[str, Meta(description="Why those of projections or of reactions are missing; else empty.")] = ""


class SettledLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a retry or a discard for the dead letters of an aggregate."""

    id: str
    outcome: Annotated[
        str,
        Meta(
            description="`applied`, `failed`, `refused`, or of a reaction `requested` (it has not been attempted yet)"
            " or `discarded`."
        ),
    ]
    applied: int
    left: int
    failed_id: str | None
    reason: str | None


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    discarded: Annotated[bool, Meta(description="Discarded dead letters instead of pending ones.")] = False


class LetterQuery(msgspec.Struct, frozen=True, kw_only=True):
    id: LetterId


class RetryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: LetterId


class DiscardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: LetterId
    reason: Annotated[str, Meta(min_length=1, max_length=1000, description="The reason; recorded permanently.")]


async def dead_letters(incoming: Request[DeadLettersQuery, NoBody]) -> Response:
    operator, query = operator_client(incoming), incoming.query
    request = ListDeadLettersRequest(user_id=incoming.caller.user_id, discarded=query.discarded, limit=query.limit)
    return reply(await operator.read(operator.stub.list_dead_letters, request), DeadLetters)


async def dead_letter(incoming: Request[LetterQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = GetDeadLetterRequest(user_id=incoming.caller.user_id, id=incoming.query.id)
    return reply(await operator.read(operator.stub.get_dead_letter, request), DeadLetterAndEvent)


async def retry(incoming: Request[NoQuery, RetryRequest]) -> Response:
    operator = operator_client(incoming)
    request = RetryDeadLetterRequest(user_id=incoming.caller.user_id, id=incoming.body.id)
    return reply(await operator.command(operator.stub.retry_dead_letter, request, repeatable=False), SettledLetter)


async def discard(incoming: Request[NoQuery, DiscardRequest]) -> Response:
    operator = operator_client(incoming)
    request = DiscardDeadLetterRequest(
        user_id=incoming.caller.user_id, id=incoming.body.id, reason=incoming.body.reason
    )
    return reply(await operator.command(operator.stub.discard_dead_letter, request, repeatable=False), SettledLetter)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "dead-letters",
        "Events that a projection could not apply, or a reaction has parked",
        dead_letters,
        DeadLettersQuery,
        NoBody,
        DeadLetters,
    ),
    operator_route(
        "GET", "dead-letter", "A dead letter with its event", dead_letter, LetterQuery, NoBody, DeadLetterAndEvent
    ),
    operator_route(
        "POST",
        "dead-letters/retry",
        "The result of the retry",
        retry,
        NoQuery,
        RetryRequest,
        SettledLetter,
        "Applies the event and those that wait for it with the current code. Events that were applied stay applied.",
    ),
    operator_route(
        "POST",
        "dead-letters/discard",
        "The result of retrying those that waited for it",
        discard,
        NoQuery,
        DiscardRequest,
        SettledLetter,
        "Discards an event permanently: this version of the read model skips it. Recorded with the reason and the "
        "operator's name.",
    ),
)
