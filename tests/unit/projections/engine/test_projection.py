"""What the engine reads out of a projection's class."""

import msgspec
import pytest

from contracts.envelope import Recorded
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.user import UserCreated
from contracts.subjects import AUTH, CONTACT, OPERATOR
from projections.engine import Projection, RowChanges, folds, handles, row_of


class BestFriends(Projection):
    version = 3
    streams = {CONTACT: None, AUTH: "vestnik.auth.user.*"}  # noqa: RUF012 - declared once, never changed
    tables = """
        CREATE TABLE {best_friends} (id uuid PRIMARY KEY, tags jsonb DEFAULT '{}');
        -- Not CREATE TABLE {cats} (id uuid PRIMARY KEY);
        CREATE TABLE {pets} (id uuid PRIMARY KEY);
        CREATE INDEX ON {pets} (id)
    """

    @handles(FriendshipAccepted, FriendshipRemoved)
    def changed(self, event: Recorded[FriendshipAccepted | FriendshipRemoved], write: RowChanges) -> None: ...

    @handles(FriendshipRemoved)
    def removed(self, event: Recorded[FriendshipRemoved], write: RowChanges) -> None: ...


def test_it_is_named_after_its_class() -> None:
    assert BestFriends.name == "best_friends"


def test_its_streams_have_one_filter_or_none() -> None:
    assert BestFriends.filters() == {CONTACT: None, AUTH: "vestnik.auth.user.*"}


def test_a_list_of_streams_has_no_filters() -> None:
    class Listed(Projection):
        streams = (CONTACT,)

    assert Listed.filters() == {CONTACT: None}


def test_of_a_stream_that_is_merely_named_it_reads_what_its_service_may() -> None:
    class OfTwo(Projection):
        streams = (CONTACT, AUTH)

    assert OfTwo.run_by() == "contact"
    assert OfTwo.filters() == {CONTACT: None, AUTH: "vestnik.auth.user.*"}


def test_it_may_name_the_service_that_runs_it() -> None:
    class Elsewhere(Projection):
        streams = (CONTACT, AUTH)
        service = "auth"

    assert Elsewhere.run_by() == "auth"
    assert Elsewhere.filters() == {CONTACT: "vestnik.contact.friendship.*", AUTH: None}


def test_the_operators_service_reads_every_event_of_every_stream() -> None:
    class OfOperators(Projection):
        streams = (AUTH, OPERATOR)
        service = "operator"

    class OfTheirActs(Projection):
        streams = (OPERATOR,)

    assert OfOperators.filters() == {AUTH: None, OPERATOR: None}
    assert OfTheirActs.run_by() == "operator"


def test_a_private_stream_is_for_the_operators_service_alone() -> None:
    class Curious(Projection):
        streams = (CONTACT, OPERATOR)

    with pytest.raises(ValueError, match="curious: streams must be among AUTH"):
        Curious.run_by()


def test_a_stream_that_does_not_exist_is_refused() -> None:
    class Lost(Projection):
        streams = ("NOWHERE",)

    class Forgotten(Projection):
        streams = CONTACT  # the comma of a tuple was forgotten

    for projection in (Lost, Forgotten):
        with pytest.raises(ValueError, match=projection.name):
            projection.filters()
        with pytest.raises(ValueError, match="streams must be among"):
            projection.run_by()


def test_a_service_that_does_not_exist_is_refused() -> None:
    class Adrift(Projection):
        streams = (CONTACT,)
        service = "contacts"

    with pytest.raises(ValueError, match="adrift: service must be one of auth, session"):
        Adrift.run_by()


def test_handlers_are_found_by_the_type_of_the_event() -> None:
    projection = BestFriends()
    assert projection.handlers() == {
        FriendshipAccepted.TYPE: (projection.changed,),
        FriendshipRemoved.TYPE: (projection.changed, projection.removed),
    }
    assert UserCreated.TYPE not in projection.handlers()


def test_views_carry_the_projection_and_its_version() -> None:
    assert BestFriends.table_names() == ("best_friends", "pets")
    assert [BestFriends.view(table) for table in BestFriends.table_names()] == [
        "best_friends_v3",
        "best_friends_pets_v3",
    ]


def test_only_the_names_of_its_tables_are_replaced() -> None:
    text = BestFriends.with_tables("{pets} '{}' {other}", {"pets": "pets_v3_b1"})
    assert text == "pets_v3_b1 '{}' {other}"


class Count(msgspec.Struct):
    number: int


@pytest.mark.parametrize(
    ("table", "is_written"), [("by_function", True), ("before_change", True), ("after_change", False)]
)
def test_a_table_that_a_trigger_may_write_is_neither_folded_nor_looked_up(table: str, is_written: bool) -> None:
    class Base(Projection):
        streams = (CONTACT,)
        tables = """
            CREATE TABLE {by_function} (id uuid PRIMARY KEY, number bigint);
            CREATE TABLE {before_change} (id uuid PRIMARY KEY, number bigint);
            CREATE TABLE {after_change} (id uuid PRIMARY KEY, number bigint);
            CREATE FUNCTION {count}() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN INSERT INTO {by_function} SELECT id FROM added; RETURN NULL; END $$;
            CREATE FUNCTION {double}() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN NEW.number := 2 * NEW.number; RETURN NEW; END $$;
            CREATE TRIGGER count AFTER INSERT ON {after_change} REFERENCING NEW TABLE AS added
                FOR EACH STATEMENT EXECUTE FUNCTION {count}();
            CREATE TRIGGER double BEFORE INSERT ON {before_change} FOR EACH ROW EXECUTE FUNCTION {double}();
        """

    class Folding(Base):
        @folds(FriendshipAccepted, table=table, key="id")
        def accepted(self, row: Count | None, event: Recorded[FriendshipAccepted]) -> Count | None:
            return row

    class LookingUp(Base):
        @handles(FriendshipAccepted, count=row_of(table, Count, key=lambda event: {"id": event.aggregate_id}))
        def accepted(self, event: Recorded[FriendshipAccepted], write: RowChanges, count: Count | None) -> None: ...

    if not is_written:
        Folding.check()
        LookingUp.check()
        return
    with pytest.raises(ValueError, match=rf"accepted in line \d+: a trigger may write \{{{table}\}}"):
        Folding.check()
    with pytest.raises(ValueError, match=rf"accepted in line \d+: it looks up {table}, which a trigger may write"):
        LookingUp.check()


@pytest.mark.parametrize("text", ["first", "now", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5+03:00"])
def test_it_begins_at_the_first_event_or_now_or_at_a_time(text: str) -> None:
    class Begun(BestFriends):
        begin = text

    Begun.check()
    assert (Begun.begin_moment() is None) == (text in ("first", "now"))


@pytest.mark.parametrize("text", ["", "Now", "later", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "7"])
def test_any_other_begin_is_refused(text: str) -> None:
    class Begun(BestFriends):
        begin = text

    with pytest.raises(ValueError, match='begin must be "first", "now" or a time with its zone'):
        Begun.check()


@pytest.mark.parametrize("seconds", [-0.1, 1.1, 60.0])
def test_a_rest_in_which_the_runner_would_seem_to_hang_is_refused(seconds: float) -> None:
    class Resting(BestFriends):
        rest_seconds = seconds

    with pytest.raises(ValueError, match="projection resting: rest_seconds is at most 1"):
        Resting.check()
    Resting.rest_seconds = 1.0
    Resting.check()


def test_a_handler_of_an_event_in_another_stream_is_refused() -> None:
    class Deaf(Projection):
        streams = (CONTACT,)
        tables = "CREATE TABLE {deaf} (id uuid PRIMARY KEY)"

        @handles(UserCreated)
        def created(self, event: Recorded[UserCreated], write: RowChanges) -> None: ...

    with pytest.raises(ValueError, match=r"deaf, created in line \d+: UserCreated is not in .* streams, but in AUTH"):
        Deaf.check()


@pytest.mark.parametrize("name", ["Hours", "hours-of-day", "2nd", ""])
def test_a_name_that_is_none_of_postgresql_is_refused(name: str) -> None:
    class Named(Projection):
        streams = (CONTACT,)
        tables = "CREATE TABLE {rows} (id uuid PRIMARY KEY)"

    Named.name = name
    with pytest.raises(ValueError, match=f"projection {name}: a name is of small letters"):
        Named.check()


def test_a_name_that_postgresql_would_cut_off_is_refused() -> None:
    class Long(Projection):
        streams = (CONTACT,)

    Long.tables = f"CREATE TABLE {{{'x' * 50}}} (id uuid PRIMARY KEY, at timestamptz)"
    Long.check()
    Long.expires = {"x" * 50: "at"}
    with pytest.raises(ValueError, match=r"as a build, 8 bytes more than the 63 of PostgreSQL's names; shorten xx"):
        Long.check()
