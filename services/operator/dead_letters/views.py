"""Dead letters as the page and the command line show them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from infra.history.event_history import EventView, to_view
from projections.engine.dead_letters.discards import Discarded
from projections.engine.dead_letters.queries import DeadLetterRow
from projections.engine.storage.dead_letters import is_private
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed


class Discard(msgspec.Struct, frozen=True):
    reason: str
    # The operator's name; the account's id, if it is no operator's any more.
    by: str
    at: datetime


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as it is shown."""

    # What could not apply it.
    kind: Literal["projection", "reaction"] = "projection"
    id: str
    # The name of the projection or the reaction; a reaction has neither version nor build: 0.
    projection: str
    version: int
    build: int
    stream: str
    sequence: int
    subject: str
    aggregate_id: str
    type: str
    # `failed`, `parked` (behind a failed one of its aggregate or folded row) or `discarded`; of a reaction also
    # `retrying`: the outcome of a retry is not known yet.
    state: str
    # Why it failed; empty for a parked one.
    error: str
    # Number of attempts and time of the last one; of a projection None if parked or discarded.
    attempts: int | None
    tried_at: datetime | None
    # Since when it has been a dead letter; of a projection None if discarded.
    at: datetime | None
    # How many are parked behind it; None if it is parked itself or discarded.
    waiting: int | None
    # Id of the one that it is parked behind.
    behind: str | None
    discard: Discard | None
    # The table and key of the folded row that waits; None: its aggregate waits, or the event is private.
    row: str | None = None


class LetterWithEvent(Letter, frozen=True, kw_only=True):
    # None if it is not one of our events or is no longer stored.
    event: EventView | None
    event_error: str | None


AnyLetter = TypeVar("AnyLetter", bound=Letter)


def with_operator(letter: AnyLetter, name_of: Callable[[str], str]) -> AnyLetter:
    """The letter with the name of the operator who discarded it, whom its event names by the account's id."""
    if letter.discard is None:
        return letter
    named = msgspec.structs.replace(letter.discard, by=name_of(letter.discard.by))
    return msgspec.structs.replace(letter, discard=named)


def of_letter(letter: DeadLetterRow) -> Letter:
    is_parked = letter.state == "parked"
    return Letter(
        **_event_fields(letter),
        state=letter.state,
        error=letter.reason,
        attempts=None if is_parked else letter.attempts,
        tried_at=None if is_parked else letter.tried_at,
        at=letter.at,
        waiting=letter.waiting,
        behind=str(letter.head) if is_parked else None,
        discard=None,
        row=None if is_private(letter.type) else letter.fold_key,
    )


def of_discard(discard: Discarded) -> Letter:
    return Letter(
        **_event_fields(discard),
        state="discarded",
        error=discard.error,
        attempts=None,
        tried_at=None,
        at=None,
        waiting=None,
        behind=None,
        discard=Discard(discard.reason, discard.discarded_by, discard.discarded_at),
    )


def _event_fields(letter: DeadLetterRow | Discarded) -> dict[str, Any]:
    names = ("projection", "version", "build", "stream", "sequence", "subject", "type")
    own = {name: getattr(letter, name) for name in names}
    return own | {"id": str(letter.id), "aggregate_id": letter.aggregate_id}


async def event_of(
    jetstream: JetStream, letter: Letter | DeadLetterRow | Discarded, *, raw: bool = True
) -> tuple[EventView | None, str | None]:
    """Returns the event, or why it cannot be shown; never undecoded bytes, which may be private.

    `raw`: in the schema in which it is stored, without upcasting.

    Raises:
        OperatorError: it cannot be upcast to the current schema.
    """
    try:
        message = await jetstream.next(letter.stream, letter.subject, letter.sequence - 1)
    except (RequestFailed, Refused) as error:
        return None, f"{letter.stream} cannot be read at the moment: {error}"
    if message is None or message.sequence != letter.sequence:
        return None, f"{letter.stream} no longer contains it"
    try:
        return to_view(message, message.envelope(), raw=raw), None
    except msgspec.DecodeError as error:
        return None, f"it is not a Vestnik event: {error}"
