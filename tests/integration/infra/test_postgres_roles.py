"""The rights of each PostgreSQL login, and that it has no others: every forbidden operation is tried."""

import psycopg
import pytest

from contracts.positions import Position
from contracts.services import GATEWAY, OPERATOR, SERVICES
from contracts.values.ids import new_id
from infra.security.postgres_roles import role_of, statements, url_of
from infra.security.secrets import DATABASE_PARTIES
from projections.engine.inspection import isolated_build
from projections.engine.rebuild import cutover
from projections.engine.storage import builds
from projections.engine.storage.schema import create_schema
from projections.registry import owned_by
from tests.integration.infra.postgres_logins import Logins, go_live, one_of, refusal, relations_of, whole
from tests.integration.projections.test_rows_that_expire import Notes
from tests.integration.projections.test_views_and_functions import Talks

# Those without an operator's rights.
OTHER_SERVICES = tuple(service for service in SERVICES if service != OPERATOR)
DENIED = "42501"
# A relation in a schema that the login may not use does not exist for it.
NOT_THERE = "42P01"
TO_A_RELATION = [
    "SELECT * FROM {}",
    "TABLE {}",
    "COPY {} TO STDOUT",
    "INSERT INTO {} DEFAULT VALUES",
    "UPDATE {} SET ctid = ctid",
    "DELETE FROM {}",
    "DO $$ BEGIN LOCK TABLE {} IN ACCESS SHARE MODE; END $$",
    "COMMENT ON {kind} {} IS 'mine'",
    "ALTER {kind} {} RENAME TO mine",
    "ALTER {kind} {} OWNER TO CURRENT_USER",
    "ALTER {kind} {} SET SCHEMA public",
    "GRANT SELECT ON {} TO PUBLIC",
    "DROP {kind} {}",
    "CREATE VIEW {own}.peep AS SELECT * FROM {}",
]
TO_A_TABLE = [
    "TRUNCATE {}",
    "ALTER TABLE {} ADD COLUMN mine int",
    "CREATE INDEX ON {} ((1))",
    "CREATE TRIGGER mine BEFORE INSERT ON {} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE TABLE {own}.heir () INHERITS ({})",
]
TO_THE_SERVER = [
    "CREATE ROLE intruder",
    "CREATE ROLE intruder SUPERUSER",
    "ALTER ROLE vestnik SUPERUSER PASSWORD 'known'",
    "DROP ROLE vestnik_operator",
    "CREATE DATABASE intruder",
    "CREATE TABLESPACE intruder LOCATION '/tmp'",
    "ALTER SYSTEM SET fsync = off",
    "SET session_replication_role = replica",
    "SET log_statement = 'none'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/intruder'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_creat(-1)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_switch_wal()",
    "CREATE LANGUAGE plpython3u",
    "CREATE FUNCTION {own}.f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'",
    "CREATE EXTENSION dblink",
    "CREATE FOREIGN DATA WRAPPER intruder",
    "CREATE SERVER intruder FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE EVENT TRIGGER intruder ON ddl_command_start EXECUTE FUNCTION pg_notify()",
    "CREATE PUBLICATION intruder FOR ALL TABLES",
    "CREATE SUBSCRIPTION intruder CONNECTION '' PUBLICATION p WITH (connect = false)",
    "SELECT pg_create_physical_replication_slot('intruder')",
]
# What the server does not know, or does not find, is as good a refusal.
REFUSED = {DENIED, NOT_THERE, "42704", "42883", "0A000", "58P01", "42P02"}


def others(party: str) -> list[str]:
    return [other for other in DATABASE_PARTIES if other != party]


async def refused(postgres_logins: Logins, party: str, statements: list[str]) -> dict[str, str | None]:
    """The statements that were not refused for lack of a right, each with its outcome."""
    conn = await postgres_logins.of(party)
    outcomes = {statement: await refusal(conn, statement) for statement in statements}
    return {statement: state for statement, state in outcomes.items() if state != DENIED}


async def test_a_service_makes_changes_and_drops_its_own_and_finds_it_by_its_plain_name(
    postgres_logins: Logins,
) -> None:
    for service in OTHER_SERVICES:
        conn = await postgres_logins.of(service)
        for projection in owned_by(service):
            await go_live(conn, projection)
            cursor = await conn.execute(f"SELECT count(*) FROM {projection.view(projection.table_names()[0])}".encode())
            assert await cursor.fetchone() == (0,)
            for old in await builds.retired(conn, projection.name, projection.version):
                await cutover.drop_build(conn, projection, old)


async def test_views_and_functions_of_a_projection_are_read_by_its_service_and_operators_alone(
    postgres_logins: Logins,
) -> None:
    service, operator = await postgres_logins.of("messaging"), await postgres_logins.of(OPERATOR)
    queries = [
        "SELECT * FROM talks_texts_v1",
        "SELECT * FROM talks_longest_v1",
        f"SELECT * FROM talks_of_conversation_v1('{new_id()}')",
        "SELECT talks_quiet_v1('A')",
        "SELECT notes FROM notes_number_v1",
        "SELECT notes_all_messages_v1()",
    ]
    for projection in (Talks, Notes):
        await go_live(service, projection)
    for query in queries:
        for reader in (service, operator):
            assert await refusal(reader, query) is None, query
        assert await refusal(await postgres_logins.of("contact"), query) in (NOT_THERE, "42883")
    # A verification's shadow, whose functions are temporary.
    await isolated_build.use_schema(service, isolated_build.TEMPORARY)
    await create_schema(service)
    for projection in (Talks, Notes):
        shadow = await isolated_build.create_isolated_build(service, projection, frozenset(), Position())
        await cutover.drop_build(service, projection, shadow.build)


async def test_nobody_reads_or_touches_what_is_anothers(postgres_logins: Logins) -> None:
    for service in OTHER_SERVICES:
        before = await whole(postgres_logins.database_url)
        for other in SERVICES:
            if other == service:
                continue
            relations = await relations_of(postgres_logins.database_url, other)
            assert {kind for _, kind in relations} == {"r", "v"}
            for name, kind in relations:
                tried = [*TO_A_RELATION, *(TO_A_TABLE if kind == "r" else [])]
                words = {"kind": "TABLE" if kind == "r" else "VIEW", "own": role_of(service)}
                assert (
                    await refused(postgres_logins, service, [statement.format(name, **words) for statement in tried])
                    == {}
                )
        assert await whole(postgres_logins.database_url) == before


async def test_nobody_makes_anything_outside_of_its_own_schema(postgres_logins: Logins) -> None:
    for service in OTHER_SERVICES:
        before = await whole(postgres_logins.database_url)
        tried = ["CREATE SCHEMA mine", f"CREATE SCHEMA mine AUTHORIZATION {role_of(service)}"]
        for schema in ("public", "pg_catalog", *(role_of(other) for other in SERVICES if other != service)):
            tried += [
                f"CREATE TABLE {schema}.mine (n int)",
                f"CREATE TABLE {schema}.mine AS SELECT 1",
                f"CREATE VIEW {schema}.mine AS SELECT 1",
                f"CREATE FUNCTION {schema}.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                f"CREATE TYPE {schema}.mine AS ENUM ()",
                f"CREATE SEQUENCE {schema}.mine",
            ]
        assert await refused(postgres_logins, service, tried) == {}
        assert await whole(postgres_logins.database_url) == before


async def test_nobody_drops_a_schema_or_the_database_or_lets_another_in(postgres_logins: Logins) -> None:
    for service in OTHER_SERVICES:
        before = await whole(postgres_logins.database_url)
        conn, own = await postgres_logins.of(service), role_of(service)
        database = postgres_logins.database_url.rsplit("/", 1)[1]
        for schema in (*map(role_of, SERVICES), "public"):
            for statement in (f"DROP SCHEMA {schema} CASCADE", f"ALTER SCHEMA {schema} RENAME TO mine"):
                assert await refusal(conn, statement) == DENIED
        for statement in (f"ALTER DATABASE {database} RENAME TO mine", f"ALTER DATABASE {database} OWNER TO {own}"):
            assert await refusal(conn, statement) == DENIED
        assert await refusal(conn, f"DROP DATABASE {database}") in (DENIED, "55006")
        for other in others(service):
            # It has the right and may not hand it on: the server warns, and does nothing.
            assert await refusal(conn, f"GRANT ALL ON SCHEMA {own} TO {role_of(other)}") is None
            assert await refusal(conn, f"GRANT CREATE ON DATABASE {database} TO {role_of(other)}") in (None, DENIED)
        assert await whole(postgres_logins.database_url) == before


async def test_a_right_to_a_table_that_is_handed_on_does_not_open_the_schema(postgres_logins: Logins) -> None:
    owner, other = await postgres_logins.of("contact"), await postgres_logins.of("messaging")
    assert await refusal(owner, "GRANT ALL ON ALL TABLES IN SCHEMA vestnik_contact TO PUBLIC") is None
    assert await refusal(other, "SELECT * FROM vestnik_contact.projection_builds") == DENIED


async def test_nobody_becomes_another(postgres_logins: Logins) -> None:
    for service in OTHER_SERVICES:
        before = await whole(postgres_logins.database_url)
        tried = []
        for role in ("vestnik", *map(role_of, others(service))):
            tried += [
                f"SET ROLE {role}",
                f"SET SESSION AUTHORIZATION {role}",
                f"GRANT {role} TO {role_of(service)}",
                f"GRANT {role_of(service)} TO {role}",
                f"ALTER ROLE {role} PASSWORD 'known'",
                f"ALTER ROLE {role} SET search_path = {role_of(service)}",
                f"REASSIGN OWNED BY {role} TO {role_of(service)}",
                f"DROP OWNED BY {role}",
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT ALL ON TABLES TO PUBLIC",
            ]
        for role in ("pg_read_all_data", "pg_write_all_data", "pg_read_all_stats", "pg_signal_backend"):
            tried += [f"SET ROLE {role}", f"GRANT {role} TO {role_of(service)}"]
        tried += [f"ALTER ROLE {role_of(service)} {right}" for right in ("SUPERUSER", "CREATEROLE", "CREATEDB")]
        assert await refused(postgres_logins, service, tried) == {}
        assert await whole(postgres_logins.database_url) == before


async def test_nobody_does_what_is_for_a_superuser(postgres_logins: Logins) -> None:
    before = await whole(postgres_logins.database_url)
    for party in DATABASE_PARTIES:
        conn = await postgres_logins.of(party)
        own = role_of(party if party != OPERATOR else SERVICES[0])
        outcomes = {statement: await refusal(conn, statement.format(own=own)) for statement in TO_THE_SERVER}
        assert {statement: state for statement, state in outcomes.items() if state not in REFUSED} == {}
    assert await whole(postgres_logins.database_url) == before


async def test_nobody_sees_what_another_asks_or_ends_his_connection(postgres_logins: Logins) -> None:
    for service in OTHER_SERVICES:
        conn = await postgres_logins.of(service)
        for other in others(service):
            victim = await postgres_logins.of(other)
            await victim.execute(b"SELECT 'a secret'")
            pid = victim.info.backend_pid
            cursor = await conn.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", (pid,))
            assert await cursor.fetchone() == ("<insufficient privilege>",)
            assert await refusal(conn, f"SELECT pg_terminate_backend({pid})") == DENIED
            assert await refusal(conn, f"SELECT pg_cancel_backend({pid})") == DENIED


async def test_only_who_has_a_login_of_the_system_gets_in(postgres_logins: Logins, database_url: str) -> None:
    for party, password in ((GATEWAY, "x"), ("contact", "wrong")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            await psycopg.AsyncConnection.connect(url_of(database_url, party, password))
    # Somebody else's login at the same server.
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute(b"DROP ROLE IF EXISTS stranger")
        await admin.execute(b"CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
        try:
            hosts = database_url.rsplit("@", 1)[1]
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                await psycopg.AsyncConnection.connect(f"postgresql://stranger:stranger@{hosts}")
        finally:
            await admin.execute(b"DROP ROLE stranger")


async def test_no_login_connects_to_another_database_of_the_server(postgres_logins: Logins) -> None:
    for party in DATABASE_PARTIES:
        server = postgres_logins.url(party).rsplit("/", 1)[0]
        for database in ("postgres", "template1"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                await psycopg.AsyncConnection.connect(f"{server}/{database}")


async def test_a_database_that_lets_every_login_in_is_named_and_left_as_it_is(postgres_logins: Logins) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_logins.database_url, autocommit=True) as admin:
        await admin.execute(b"CREATE DATABASE somebody_elses TEMPLATE template0")
        try:
            warnings: list[str] = []
            admin.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
            for statement in statements(postgres_logins.database_url.rsplit("/", 1)[1], postgres_logins.passwords):
                await admin.execute(statement.encode())
            assert any("to the database somebody_elses" in warning for warning in warnings)
            cursor = await admin.execute("SELECT datacl FROM pg_database WHERE datname = 'somebody_elses'")
            assert await cursor.fetchone() == (None,)
        finally:
            await admin.execute(b"DROP DATABASE somebody_elses")


async def test_the_operator_reads_everything_and_acts_for_each_service(postgres_logins: Logins) -> None:
    conn = await postgres_logins.of(OPERATOR)
    for service in SERVICES:
        for name, _ in await relations_of(postgres_logins.database_url, service):
            await conn.execute(f"SELECT * FROM {name}".encode())
        for projection in [one_of(service)]:
            # A person who looks into a read model need not know which service it belongs to.
            await conn.execute(f"SELECT * FROM {projection.view(projection.table_names()[0])}".encode())
        await conn.execute(f"SET ROLE {role_of(service)}".encode())
        await conn.execute(f"CREATE TABLE {role_of(service)}.made (n int)".encode())
        await conn.execute(b"RESET ROLE")
        await conn.execute(f"SELECT * FROM {role_of(service)}.made".encode())
        await (await postgres_logins.of(service)).execute(b"DROP TABLE made")
    assert await refusal(conn, "CREATE TABLE by_accident (n int)") == DENIED


async def test_the_operator_changes_nothing_of_a_service_without_acting_for_it(postgres_logins: Logins) -> None:
    before = await whole(postgres_logins.database_url)
    for service in OTHER_SERVICES:
        tried = [f"CREATE TABLE {role_of(service)}.by_accident (n int)", f"DROP SCHEMA {role_of(service)} CASCADE"]
        for name, kind in await relations_of(postgres_logins.database_url, service):
            what = "TABLE" if kind == "r" else "VIEW"
            tried += [f"INSERT INTO {name} DEFAULT VALUES", f"DELETE FROM {name}", f"DROP {what} {name} CASCADE"]
            tried += [f"ALTER {what} {name} RENAME TO mine", f"ALTER {what} {name} OWNER TO CURRENT_USER"]
            tried += [f"TRUNCATE {name}", f"CREATE INDEX ON {name} ((1))"] if kind == "r" else []
        assert await refused(postgres_logins, OPERATOR, tried) == {}
    assert await whole(postgres_logins.database_url) == before


async def test_rights_of_an_earlier_release_become_todays(postgres_logins: Logins) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_logins.database_url, autocommit=True) as admin:
        before = await whole(postgres_logins.database_url)
        operator = role_of(OPERATOR)
        await admin.execute(f"ALTER ROLE {operator} INHERIT".encode())
        for service in OTHER_SERVICES:
            role = role_of(service)
            await admin.execute(f"REVOKE {role} FROM {operator}".encode())
            await admin.execute(f"GRANT {role} TO {operator}".encode())
            await admin.execute(f"REVOKE USAGE ON SCHEMA {role} FROM {operator}".encode())
            await admin.execute(f"REVOKE SELECT ON ALL TABLES IN SCHEMA {role} FROM {operator}".encode())
        await admin.execute(b"GRANT CONNECT, TEMPORARY ON DATABASE postgres, template1 TO PUBLIC")
        await admin.execute(
            b"GRANT EXECUTE ON FUNCTION lo_create(oid), lo_creat(int), lo_from_bytea(oid, bytea) TO PUBLIC"
        )
        assert (
            await refusal(await postgres_logins.of(OPERATOR), "DROP TABLE vestnik_contact.projection_builds") != DENIED
        )
        assert await refusal(await postgres_logins.of("contact"), "SELECT lo_create(0)") is None

        await postgres_logins.give_rights()

        assert await whole(postgres_logins.database_url) == before
    await test_no_login_connects_to_another_database_of_the_server(postgres_logins)
    await test_the_operator_reads_everything_and_acts_for_each_service(postgres_logins)
    assert await refusal(await postgres_logins.of(OPERATOR), "DELETE FROM vestnik_contact.projection_builds") == DENIED
    for party in DATABASE_PARTIES:
        assert await refusal(await postgres_logins.of(party), "SELECT lo_create(0)") == DENIED


async def test_rights_may_be_given_again_and_change_nothing_but_passwords(postgres_logins: Logins) -> None:
    before = await whole(postgres_logins.database_url)
    await postgres_logins.give_rights()
    assert await whole(postgres_logins.database_url) == before


async def test_an_operator_who_reads_at_length_is_seen_by_the_service_that_wants_to_switch(
    postgres_logins: Logins,
) -> None:
    projection = one_of("contact")
    reader, service = await postgres_logins.of(OPERATOR), await postgres_logins.of("contact")
    assert await cutover.blocking_reader(service, projection) is None
    async with reader.transaction():
        await reader.execute(f"SELECT * FROM {projection.view(projection.table_names()[0])}".encode())
        assert "a reader of its views to end" in str(await cutover.blocking_reader(service, projection))
    assert await cutover.blocking_reader(service, projection) is None
