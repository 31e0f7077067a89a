"""Queries on reports, on the read model `reports`."""

from datetime import UTC, datetime

import msgspec

from contracts.positions import Position
from contracts.values.field_types import Id
from projections.engine.read_model import ReadModel

# Cursor of the first page: later than every report.
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    reporter_id: str
    reported_id: str
    reason: str
    # How many were reported.
    messages: int
    filed_at: datetime
    settled_at: datetime | None
    outcome: str | None
    settled_by: str | None


class ReportsCursor(msgspec.Struct, frozen=True):
    filed_at: datetime
    report_id: Id


class FiledRow(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    filed_at: datetime


class _Id(msgspec.Struct, frozen=True):
    report_id: str


class ReportQueries:
    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def wait_for(self, position: Position) -> None:
        await self._model.wait_for(position)

    async def reports(
        self, *, settled: bool, limit: int, after: ReportsCursor | None
    ) -> tuple[list[ReportRow], ReportsCursor | None]:
        """Returns a page of open or settled reports, latest first."""
        rows, _ = await self._model.select(
            ReportRow,
            f"""
            SELECT report_id, reporter_id, reported_id, reason, messages, filed_at, settled_at, outcome, settled_by
            FROM {{reports}}
            WHERE settled_at IS {"NOT NULL" if settled else "NULL"}
              AND (filed_at, report_id) < (%(filed_at)s, %(report_id)s::uuid)
            ORDER BY filed_at DESC, report_id DESC LIMIT %(limit)s
            """,  # noqa: S608
            {
                "filed_at": after.filed_at if after else _END_OF_TIME,
                "report_id": after.report_id if after else _LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = ReportsCursor(page[-1].filed_at, page[-1].report_id) if len(rows) > limit else None
        return page, more

    async def filed_by(
        self, user_id: str, *, limit: int, after: ReportsCursor | None
    ) -> tuple[list[FiledRow], ReportsCursor | None]:
        """Returns a page of the user's reports, latest first. Reads the whole small table; the call is rare."""
        rows, _ = await self._model.select(
            FiledRow,
            """
            SELECT report_id, filed_at FROM {reports}
            WHERE reporter_id = %(user_id)s AND (filed_at, report_id) < (%(filed_at)s, %(report_id)s::uuid)
            ORDER BY filed_at DESC, report_id DESC LIMIT %(limit)s
            """,
            {
                "user_id": user_id,
                "filed_at": after.filed_at if after else _END_OF_TIME,
                "report_id": after.report_id if after else _LAST_ID,
                "limit": limit + 1,
            },
        )
        page = rows[:limit]
        more = ReportsCursor(page[-1].filed_at, page[-1].report_id) if len(rows) > limit else None
        return page, more

    async def due(self, settled_before: datetime, limit: int) -> list[str]:
        """Returns the ids of reports that were settled by that time and whose texts have not expired."""
        rows, _ = await self._model.select(
            _Id,
            """
            SELECT report_id FROM {reports}
            WHERE settled_at <= %(settled_before)s AND expired_at IS NULL
            ORDER BY settled_at LIMIT %(limit)s
            """,
            {"settled_before": settled_before, "limit": limit},
        )
        return [row.report_id for row in rows]
