"""The statements of a projection's tables: how they are separated, and what is refused at which line."""

import pytest

from projections.engine import Projection
from projections.engine.definitions import BadDefinition, Kind, parse

SYNTAX_CASES = """
    -- a comment; with a semicolon, and a quote that's not closed /*
    /* outer; /* inner; */ isn't closed; DROP TABLE {odd}; */
    CREATE TABLE {odd} (id uuid PRIMARY KEY, text text DEFAULT 'a;''b', "a;b" text /* ; */);
    CREATE FUNCTION {f}() RETURNS int LANGUAGE sql STABLE AS $body$ SELECT 1; SELECT 2; $body$;
    /* for the list; newest first */
    -- really
    create  index ON {odd} (text) WHERE text <> ';';
    CREATE UNIQUE INDEX ON {odd} ("a;b");
    CREATE /* a */ VIEW {v} AS SELECT ';' FROM {odd}; ;
    CREATE TRIGGER t AFTER INSERT ON {odd}
        FOR EACH STATEMENT EXECUTE FUNCTION {g}();
    CREATE FUNCTION {g}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"""


def test_a_semicolon_in_quotes_or_comments_ends_no_statement() -> None:
    ends = [definition.statement.rpartition(" ")[2] for definition in parse(SYNTAX_CASES)]
    assert ends == ["*/)", "$body$", "';'", '("a;b")', "{odd}", "{g}()", "$$"]


def test_each_statement_has_a_kind_a_name_and_a_line() -> None:
    assert [(definition.kind, definition.name, definition.line) for definition in parse(SYNTAX_CASES)] == [
        (Kind.TABLE, "odd", 4),
        (Kind.FUNCTION, "f", 5),
        (Kind.INDEX, "odd", 8),
        (Kind.UNIQUE_INDEX, "odd", 9),
        (Kind.VIEW, "v", 10),
        (Kind.TRIGGER, "odd", 11),
        (Kind.TRIGGER_FUNCTION, "g", 13),
    ]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE {other}", "DROP TABLE {other} …: only CREATE"),
        ("INSERT INTO {people} VALUES (1)", "INSERT INTO {people} …: only CREATE"),
        ("-- why\n\n UPDATE {people} SET id = 1", "UPDATE"),
        ("CREATE EXTENSION pg_trgm", "CREATE EXTENSION pg_trgm …: only CREATE TABLE"),
        ("CREATE SCHEMA other", "only CREATE TABLE"),
        ("CREATE SEQUENCE {numbers}", "only CREATE TABLE"),
        ("CREATE TABLE people (id uuid)", "named in braces"),
        ("CREATE TABLE auth.people (id uuid)", "named in braces"),
        ("CREATE TABLE {copy} AS SELECT 1", "events fill it"),
        ("CREATE UNLOGGED TABLE {fast} (id uuid)", "does not survive a crash"),
        ("CREATE TEMP TABLE {short} (id uuid)", "gone with its connection"),
        ("CREATE MATERIALIZED VIEW {counts} AS SELECT 1", "rows of the past"),
        ("CREATE VIEW counts AS SELECT 1", "named in braces"),
        ("CREATE VIEW {perHour} AS SELECT 1", "{perHour}: a name in braces has small letters only"),
        ("CREATE INDEX people_ids ON {people} (id)", "an index has no name"),
        ("CREATE INDEX CONCURRENTLY ON {people} (id)", "before readers"),
        ("CREATE INDEX ON {strangers} (id)", "no table {strangers}"),
        ("CREATE TABLE {people} (id uuid)", "created twice"),
        ("CREATE VIEW {all} AS SELECT * FROM vestnik_auth.users_v1", "nothing of other schemas"),
        ("CREATE FUNCTION {f}() RETURNS int LANGUAGE sql AS 'SELECT 1'", "IMMUTABLE or STABLE"),
        ("CREATE FUNCTION {f}() RETURNS int LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT 1'", "no SECURITY DEFINER"),
        ("CREATE FUNCTION {f}() RETURNS int LANGUAGE sql STABLE AS 'SELECT\n 1 FROM friends_v4'", "in braces"),
        ("CREATE FUNCTION {f}() RETURNS int STABLE LANGUAGE plpgsql AS $$BEGIN EXECUTE x; END$$", "made at run time"),
        ("CREATE FUNCTION {f}() RETURNS int STABLE LANGUAGE sql AS $$SELECT 1 FROM public.x$$", "other schemas"),
        ('CREATE FUNCTION {f}() RETURNS int STABLE LANGUAGE sql AS $$SELECT 1 FROM "public".x$$', "other schemas"),
        ("GRANT SELECT ON {people} TO public", "only CREATE"),
        ("SELECT 1", "only CREATE"),
    ],
)
def test_what_is_not_allowed_is_refused(statement: str, reason: str) -> None:
    with pytest.raises(BadDefinition) as refused:
        parse(f"CREATE TABLE {{people}} (id uuid PRIMARY KEY);\n{statement};")
    assert reason in str(refused.value)
    assert refused.value.line == 2 + statement.partition("FROM")[0].partition("UPDATE")[0].count("\n")


def test_a_semicolon_after_an_escaped_quote_ends_no_statement() -> None:
    assert len(parse(r"CREATE TABLE {people} (id uuid PRIMARY KEY, said text DEFAULT E'\'; ')")) == 1


class Careless(Projection):
    streams = ("MESSAGING",)
    tables = """
        CREATE TABLE {careless} (id uuid PRIMARY KEY);

        TRUNCATE {careless};
    """


def test_the_error_names_the_projection_and_the_line_in_its_file() -> None:
    with open(__file__, encoding="utf-8") as source:
        number = 1 + source.read().splitlines().index("        TRUNCATE {careless};")
    with pytest.raises(ValueError, match=f"^projection careless, line {number}: TRUNCATE"):
        Careless.check()


def test_the_line_in_its_tables_is_named_where_the_source_is_not_at_hand() -> None:
    class Made(Careless):
        tables = f"SELECT {6 * 7}"

    with pytest.raises(ValueError, match=r"^projection made, line 1 of its tables: SELECT"):
        Made.definitions()
