"""A projection's DDL is split into statements, whatever it contains."""

from projections.engine import Projection
from projections.engine.storage.builds import Build, BuildState
from projections.engine.storage.tables import _INDEX, _statements

BUILD = Build(projection="odd", version=1, build=2, state=BuildState.BUILDING, identity="")


class Odd(Projection):
    streams = ("MESSAGING",)
    tables = """
        -- a comment; with a semicolon, and a quote that's not closed
        CREATE TABLE {odd} (id uuid PRIMARY KEY, text text DEFAULT 'a;''b', "a;b" text /* ; */);
        CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $body$ SELECT 1; SELECT 2; $body$;
        /* for the list; newest first */
        -- really
        create  index ON {odd} (text) WHERE text <> ';';
        CREATE UNIQUE INDEX ON {odd} ("a;b");
    """


def test_a_semicolon_in_quotes_or_comments_ends_no_statement() -> None:
    ends = [statement.rstrip().rpartition(" ")[2] for statement in _statements(Odd, BUILD)]
    assert ends == ["*/)", "$body$", "';'", '("a;b")']


def test_only_indexes_that_decide_nothing_are_for_later() -> None:
    later = [bool(_INDEX.match(statement)) for statement in _statements(Odd, BUILD)]
    assert later == [False, False, True, False]


def test_the_tables_are_those_of_the_build() -> None:
    assert all("odd_v1_b2" in statement for statement in _statements(Odd, BUILD) if "FUNCTION" not in statement)
