"""A database of before the services had logins is handed over to them, with what operators have decided."""

import secrets

import pytest
from psycopg import AsyncConnection, sql

from infra.security.postgres_roles import role_of, statements, url_of
from infra.security.secrets import DATABASE_PARTIES, OPERATOR
from infra.settings import SERVICES
from infra.supervisor.schema_handover import NotHandedOver, part
from projections.engine.rebuild.cutover import live_build
from projections.engine.storage.builds import Connection
from projections.engine.storage.dead_letters import discards
from projections.registry import catalogue, owned_by
from tests.integration.infra.postgres_logins import go_live

DISCARD = """
INSERT INTO projection_discards
    (projection, version, stream, sequence, build, subject, type, error, reason, discarded_by)
VALUES ('friends', %s, 'CONTACT', 7, 1, 'vestnik.contact.friendship.p', 'friendship.created', 'e', 'r', 'me')
"""
# A projection whose code is gone.
FORGOTTEN = """
CREATE TABLE forgotten_v1_b1 (n int PRIMARY KEY);
CREATE VIEW forgotten_v1 AS SELECT * FROM forgotten_v1_b1;
INSERT INTO projection_builds (projection, version, build, state, tables)
VALUES ('forgotten', 1, 1, 'live', ARRAY['forgotten_v1_b1'])
"""
LEFT = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"


async def rows(conn: Connection, view: str) -> list[tuple[object, ...]]:
    return await (await conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view)))).fetchall()


async def test_every_read_model_is_with_its_service_as_it_was_and_nothing_is_left(database_url: str) -> None:
    passwords = {party: secrets.token_hex(8) for party in DATABASE_PARTIES}
    friends = catalogue()["friends"]
    admin: Connection = await AsyncConnection.connect(database_url, autocommit=True)
    for projection in catalogue().values():
        await go_live(admin, projection)
    # Another build, so that one is kept for going back.
    await go_live(admin, friends)
    view = sql.Identifier(friends.view("contacts"))
    await admin.execute(sql.SQL("INSERT INTO {} (user_id) VALUES (gen_random_uuid())").format(view))
    await admin.execute(DISCARD, (friends.version,))
    await admin.execute(FORGOTTEN.encode())
    contacts = await rows(admin, friends.view("contacts"))
    for statement in statements(database_url.rsplit("/", 1)[1], passwords):
        await admin.execute(statement.encode())

    for _ in range(2):
        await part(database_url)

        assert await (await admin.execute(LEFT.encode())).fetchall() == []
        for service in SERVICES:
            conn: Connection = await AsyncConnection.connect(
                url_of(database_url, service, passwords[service]), autocommit=True
            )
            for projection in owned_by(service):
                assert await live_build(conn, projection) is not None
                for table in projection.table_names():
                    await rows(conn, projection.view(table))
                    operator = await AsyncConnection.connect(url_of(database_url, OPERATOR, passwords[OPERATOR]))
                    assert await rows(operator, projection.view(table)) == await rows(conn, projection.view(table))
                    await operator.close()
            if service == friends.run_by():
                assert await rows(conn, friends.view("contacts")) == contacts
                assert await discards(conn, friends.name, friends.version) == {("CONTACT", 7)}
            await conn.close()
        owners = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE schemaname ~ '^vestnik_' ORDER BY 1"
        assert await (await admin.execute(owners.encode())).fetchall() == [
            (role_of(service), role_of(service)) for service in sorted(SERVICES)
        ]
    # What was handed over is its own: it goes on with it.
    conn = await AsyncConnection.connect(url_of(database_url, "contact", passwords["contact"]), autocommit=True)
    await go_live(conn, friends)
    assert await rows(conn, friends.view("contacts")) == []
    await conn.close()
    await admin.close()


async def test_what_cannot_be_handed_over_stays_as_it_was(database_url: str) -> None:
    (friends,) = owned_by("contact")
    admin: Connection = await AsyncConnection.connect(database_url, autocommit=True)
    await go_live(admin, friends)
    before = await (await admin.execute(LEFT.encode())).fetchall()
    for statement in statements(database_url.rsplit("/", 1)[1], dict.fromkeys(DATABASE_PARTIES, "secret")):
        await admin.execute(statement.encode())
    # Somebody has a table of that name there.
    await admin.execute(f"CREATE TABLE vestnik_contact.{friends.view('friends')}_b1 (n int)".encode())
    with pytest.raises(NotHandedOver, match="already exists in schema"):
        await part(database_url)
    assert set(before) <= set(await (await admin.execute(LEFT.encode())).fetchall())
    assert await live_build(admin, friends) is not None
    await admin.close()
