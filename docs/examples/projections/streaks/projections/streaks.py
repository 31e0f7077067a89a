"""The longest streak of days on which two people wrote to each other."""

from datetime import date, timedelta

import msgspec

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING
from projections.engine import Projection, folds


class Streak(msgspec.Struct, frozen=True):
    """Two people; a day counts once both have written on it."""

    one_id: str
    other_id: str
    # The day of the newest message, who was the first to write on it, and whether the other has answered.
    day: date
    first_id: str
    mutual: bool = False
    # The last day that counts, and the number of days in a row up to it.
    last_day: date | None = None
    days: int = 0
    longest: int = 0


class Streaks(Projection):
    version = 1
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {streaks} (
            conversation_id uuid PRIMARY KEY,
            one_id uuid NOT NULL,
            other_id uuid NOT NULL,
            day date NOT NULL,
            first_id uuid NOT NULL,
            mutual boolean NOT NULL,
            last_day date,
            days bigint NOT NULL,
            longest bigint NOT NULL
        );
        CREATE INDEX ON {streaks} (longest DESC);
        CREATE INDEX ON {streaks} (one_id);
        CREATE INDEX ON {streaks} (other_id);
    """

    @folds(MessageSent, table="streaks", key="conversation_id")
    def wrote(self, row: Streak | None, event: Recorded[MessageSent]) -> Streak:
        sender, day = event.data.sender_id, event.at.date()
        if row is None:
            return Streak(sender, event.data.recipient_id, day, sender)
        if day > row.day:
            return msgspec.structs.replace(row, day=day, first_id=sender, mutual=False)
        if row.mutual or sender == row.first_id:
            return row
        days = row.days + 1 if row.last_day == row.day - timedelta(days=1) else 1
        return msgspec.structs.replace(row, mutual=True, last_day=row.day, days=days, longest=max(row.longest, days))
