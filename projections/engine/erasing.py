"""Projections whose rows contain personal data: what is left of a user's data when the account was erased.

A row is the same whether the user's texts were erased from it or were never readable. Three rules make it so:

- An empty text is an erased one. Its key was destroyed, so that is what a replay reads. Handlers write for it what the
  erasure leaves.
- `user.erased` adds the user to the table `erased`, and the projection's `erasures` change the rows that have been
  written before.
- Every event that is applied after it, of whatever stream, has empty texts of the user, even if they could be read: its
  key may be cached, or the event be older than the sealing of personal data.
"""

from collections.abc import Sequence
from typing import ClassVar

from contracts.envelope import Recorded
from contracts.events.user import UserErased
from contracts.subjects import AUTH
from projections.engine.changes import RowChanges
from projections.engine.definitions import PLACEHOLDER
from projections.engine.lookups import lookups_of
from projections.engine.projection import Projection, handles

# The table that every such projection has.
ERASED = "erased"
ERASED_USERS = """
        CREATE TABLE {erased} (
            user_id uuid PRIMARY KEY,
            at timestamptz,
            -- of `user.erased`, in AUTH; null for a registration that ended without an account
            sequence bigint
        );
        -- The last erasure, which ends the validity of cached pages.
        CREATE INDEX ON {erased} (sequence);
"""


class ErasingProjection(Projection):
    """Base of projections with personal data; one of the streams is AUTH, and the tables include `ERASED_USERS`.

    It has handlers alone: no folds, and nothing that is looked up.

    Attributes:
        erasures: SQL statements that remove the data of the users `%(users)s` (an array of ids) from the rows. They run
            after the other changes of a batch, in its transaction. Repeated, and after any event with empty texts of
            these users, they write no row.
    """

    erasures: ClassVar[Sequence[str]]

    @handles(UserErased)
    def account_erased(self, event: Recorded[UserErased], write: RowChanges) -> None:
        # An ended registration is on no page, so that all pages stay valid.
        sequence = None if event.data.ended_registration else event.sequence
        write.upsert(ERASED, key={"user_id": event.aggregate_id}, first={"at": event.at, "sequence": sequence})

    @classmethod
    def check(cls) -> None:
        tables = set(cls.table_names())
        if AUTH not in cls.streams or ERASED not in tables:
            raise ValueError(f"projection {cls.name}: {AUTH} and the table {ERASED} are required")
        super().check()
        if cls().folds() or any(lookups_of(method) for methods in cls().handlers().values() for method in methods):
            raise ValueError(f"projection {cls.name}: it has personal data, so it has no folds and looks up no rows")
        for statement in cls.erasures:
            if unknown := set(PLACEHOLDER.findall(statement)) - tables:
                raise ValueError(f"projection {cls.name}: an erasure names {min(unknown)}, which is none of its tables")
