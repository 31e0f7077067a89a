"""The audit of operators: who did what and who looked at what, read from the stream OPERATOR.

An act and its end are two events, joined here. An act without an end is under way, or was interrupted.
"""

from datetime import datetime
from typing import Any

import msgspec
from nats.aio.client import Client

from contracts.envelope import Recorded
from contracts.errors import Unavailable
from contracts.events.event import Event
from contracts.events.operator import OperatorActed, OperatorActionEnded, OperatorLooked
from contracts.subjects import OPERATOR, operator_action
from infra.history.event_history import SKEW
from streams.log import Log
from streams.reader import Reader

# Seconds.
_PATIENCE = 5.0


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Selects rows of the audit."""

    # The name of an operator, in any case, or the id of an account.
    operator: str | None = None
    # The name of an act or of a look.
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    acts: bool = True
    looks: bool = True

    def wants(self, row: "Row") -> bool:
        return (
            (self.acts if row.action is not None else self.looks)
            and (self.operator is None or self.operator.lower() in (row.operator.lower(), row.operator_id))
            and self.action in (None, row.action, row.what)
            and (self.since is None or row.at >= self.since)
            and (self.until is None or row.at < self.until)
        )


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act or one look."""

    at: datetime
    operator: str
    # None on the command line.
    operator_id: str | None
    channel: str
    address: str
    # Of an act.
    action: str | None = None
    # Of a look.
    what: str | None = None
    target: str
    # Of an act.
    details: dict[str, str] | None = None
    # Of a look.
    filter: dict[str, str] | None = None
    reason: str
    # `done`, `failed` or `cancelled`; None for a look, and for an act that is under way or was interrupted.
    outcome: str | None
    # Why it failed.
    error: str | None = None


class Audit(msgspec.Struct, frozen=True):
    rows: list[Row]
    # Positions of events that cannot be read.
    unreadable: list[str]


async def audit_rows(nc: Client, query: Query) -> Audit:
    """The matching acts and looks, in order of time.

    Raises:
        Unavailable: NATS does not answer.
        PermissionError: this NATS user may not read them.
    """
    # An act is stored before its end, and both after `since`.
    after = await Log(nc).end_before(OPERATOR, query.since - SKEW) if query.since else 0
    rows: dict[str, Row] = {}
    unreadable: list[str] = []
    try:
        async with Reader(
            nc, OPERATOR, after=after, subject_filter=operator_action("*"), name="operators", patience=_PATIENCE
        ) as reader:
            async for batch in reader.batches():
                for message in batch.messages:
                    try:
                        _add(rows, message.open(), query)
                    except (LookupError, msgspec.DecodeError):
                        unreadable.append(f"{message.stream} {message.sequence}")
                if batch.pending == 0:
                    break
    except TimeoutError as error:
        raise Unavailable("NATS does not answer.") from error
    # What waited in a file was appended later than it was decided.
    return Audit(sorted(rows.values(), key=lambda row: row.at), unreadable)


def row_of(event: Recorded[Event]) -> Row | None:
    """The row that an event begins; None if it is the end of an act."""
    data = event.data
    if isinstance(data, OperatorActed):
        return _row(event, data, action=data.action, details=data.details, reason=data.reason)
    if isinstance(data, OperatorLooked):
        filter_ = dict(data.filter)
        return _row(event, data, what=data.what, filter=filter_, reason="")
    return None


def _row(event: Recorded[Event], data: OperatorActed | OperatorLooked, *, reason: str, **fields: Any) -> Row:  # noqa: ANN401 - fields of Row
    return Row(
        at=event.at,
        operator=data.operator,
        operator_id=data.operator_id,
        channel=data.channel,
        address=data.address,
        target=data.target,
        reason=reason,
        outcome=None,
        **fields,
    )


def ended(row: Row, end: OperatorActionEnded) -> Row:
    return msgspec.structs.replace(row, outcome=end.outcome, error=end.error or None)


def _add(rows: dict[str, Row], event: Recorded[Event], query: Query) -> None:
    if isinstance(event.data, OperatorActionEnded):
        if (begun := rows.get(event.aggregate_id)) is not None:
            rows[event.aggregate_id] = ended(begun, event.data)
    elif (row := row_of(event)) is not None and query.wants(row):
        rows[event.aggregate_id] = row
