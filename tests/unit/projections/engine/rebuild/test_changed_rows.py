"""Keys of rows as operators write them."""

from datetime import UTC, datetime

import msgspec
import pytest

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, folds
from projections.engine.rebuild.changed_rows import ChangedRows
from projections.engine.storage.pg_text import MOMENTS, UnsupportedValue
from projections.engine.storage.tables import Table


class Count(msgspec.Struct):
    messages: int


class Hours(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {hours} (hour timestamptz, late boolean, messages bigint, PRIMARY KEY (hour, late))"

    @folds(MessageSent, table="hours", key=lambda event: {"hour": event.at, "late": True})
    def sent(self, row: Count | None, event: Recorded[MessageSent]) -> Count:
        return row or Count(0)


TABLES = {
    "hours": Table("hours", "hours_v1_b1", ("hour", "late"), {"hour": MOMENTS, "late": "boolean", "messages": "bigint"})
}
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        # As `vestnik rows` and `vestnik verify` print them, and as events have them.
        f"hours:{NOON},{True}",
        "hours:2026-01-31 12:00:00+00,true",
        "hours:2026-01-31T12:00:00Z,true",
        "hours:2026-01-31T13:00:00+01:00,true",
    ],
)
def test_a_time_in_a_key_may_be_written_in_any_form(text: str) -> None:
    assert ChangedRows(Hours, TABLES).folded_row(text) == ("hours", ("2026-01-31T12:00:00+00:00", "true"))


@pytest.mark.parametrize("text", ["hours:noon,true", "hours:2026-01-31T12:00:00,true", "hours:2026-01-31T12:00:00Z"])
def test_what_is_no_time_or_no_whole_key_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedValue):
        ChangedRows(Hours, TABLES).folded_row(text)
