"""A projection with personal data has what an erasure needs."""

from collections.abc import Sequence

import pytest

from contracts.envelope import Recorded
from contracts.events.message import MessageSent
from contracts.subjects import AUTH, MESSAGING
from projections.engine import RowChanges, handles, row_of
from projections.engine.erasing import ERASED_USERS, ErasingProjection
from projections.friends import Friends


def test_the_erasing_projections_of_this_tree_are_valid() -> None:
    Friends.check()


@pytest.mark.parametrize(
    ("streams", "tables", "erasures", "wrong"),
    [
        ((MESSAGING,), ERASED_USERS, (), "AUTH and the table erased"),
        ((MESSAGING, AUTH), "", (), "AUTH and the table erased"),
        ((MESSAGING, AUTH), ERASED_USERS, ("DELETE FROM {letters}",), "names letters"),
    ],
)
def test_a_projection_that_lacks_a_part_is_refused(
    streams: Sequence[str], tables: str, erasures: Sequence[str], wrong: str
) -> None:
    class Words(ErasingProjection):
        pass

    Words.streams, Words.tables, Words.erasures = (
        streams,
        f"CREATE TABLE {{words}} (id uuid PRIMARY KEY);{tables}",
        erasures,
    )
    with pytest.raises(ValueError, match=wrong):
        Words.check()


def test_an_erasing_projection_looks_up_no_rows() -> None:
    class Words(ErasingProjection):
        streams = (MESSAGING, AUTH)
        tables = "CREATE TABLE {words} (id uuid PRIMARY KEY);" + ERASED_USERS
        erasures = ()

        @handles(MessageSent, word=row_of("words", MessageSent, key=lambda event: {"id": event.id}))
        def sent(self, event: Recorded[MessageSent], write: RowChanges, word: object) -> None: ...

    with pytest.raises(ValueError, match="looks up no rows"):
        Words.check()
