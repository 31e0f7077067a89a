"""Pages of anomalies, newest first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.values.cursors import decode_cursor, encode_cursor
from services.operator.anomalies.queries import AnomalyQueries
from services.operator.anomalies.rules import RULES, Anomaly, Rule


class AnomaliesFound(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Anomaly]
    # Cursor of the next page; None on the last one.
    older: str | None


class AnomalyFilter(msgspec.Struct, frozen=True, kw_only=True):
    since: datetime | None = None
    until: datetime | None = None
    rules: Sequence[Rule] = RULES


class _Before(msgspec.Struct, frozen=True):
    at: Annotated[datetime, Meta(tz=True)]
    id: Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*\Z")]


async def newest(queries: AnomalyQueries, selection: AnomalyFilter, *, limit: int, cursor: str) -> AnomaliesFound:
    """Returns at most `limit` anomalies, from the cursor into the past.

    Raises:
        Invalid: the cursor is not one of ours.
        ReadModelBehind: the read model has not been built yet.
        Unavailable: the database does not answer.
    """
    before = decode_cursor(cursor, _Before)
    rows = await queries.newest(
        since=selection.since,
        until=selection.until,
        rules=selection.rules,
        before=(before.at, before.id) if before else None,
        limit=limit + 1,
    )
    page = rows[:limit]
    older = encode_cursor(_Before(page[-1].at, page[-1].id)) if len(rows) > limit else None
    return AnomaliesFound(items=await queries.with_usernames(page), older=older)
