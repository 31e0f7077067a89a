"""Every login of a PostgreSQL with privileges, each on its own connection, and a read model of each service."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection, sql

from contracts.services import OPERATOR, SERVICES
from infra.security.postgres_roles import role_of, statements, url_of
from infra.security.secrets import DATABASE_PARTIES
from infra.security.service_schemas import ServiceSchemas
from projections.engine.projection import Projection
from projections.engine.rebuild import cutover
from projections.engine.storage.builds import Connection
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.registry import owned_by


class Logins:
    """The database and the connections of its logins."""

    def __init__(self, database_url: str, passwords: dict[str, str]) -> None:
        # With the superuser's login.
        self.database_url = database_url
        self.passwords = passwords
        self._open: dict[str, Connection] = {}

    def url(self, party: str) -> str:
        return url_of(self.database_url, party, self.passwords[party])

    async def of(self, party: str) -> Connection:
        """The login's connection, opened on first use."""
        if party not in self._open:
            self._open[party] = await AsyncConnection.connect(self.url(party), autocommit=True)
        return self._open[party]

    async def give_rights(self) -> None:
        """Runs the statements as a superuser; may be repeated."""
        name = self.database_url.rsplit("/", 1)[1]
        async with await AsyncConnection.connect(self.database_url) as conn:
            for statement in statements(name, self.passwords):
                await conn.execute(statement.encode())

    async def close(self) -> None:
        for conn in self._open.values():
            await conn.close()


@asynccontextmanager
async def logins(database_url: str) -> AsyncIterator[Logins]:
    """The logins, with privileges granted and the tables of one read model per service created."""
    postgres_logins = Logins(database_url, {party: secrets.token_hex(8) for party in DATABASE_PARTIES})
    try:
        await postgres_logins.give_rights()
        schemas = await ServiceSchemas.discover(postgres_logins.url(OPERATOR))
        for service in SERVICES:
            conn = await connect(
                schemas.url(OPERATOR) if service == OPERATOR else postgres_logins.url(service), service
            )
            await go_live(conn, one_of(service))
            await conn.close()
        yield postgres_logins
    finally:
        await postgres_logins.close()


def one_of(service: str) -> type[Projection]:
    return owned_by(service)[0]


async def go_live(conn: Connection, projection: type[Projection]) -> None:
    """Creates an empty read model, as its service does."""
    await ensure_schema(conn)
    build = await cutover.start_build(conn, projection)

    async def nothing_to_catch_up(position: object) -> bool:
        return True

    assert await cutover.cut_over(conn, projection, build, nothing_to_catch_up)


async def refusal(conn: Connection, statement: str) -> str | None:
    """Executes the statement; returns the SQLSTATE of the error, None if it succeeded."""
    try:
        await conn.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return None


async def relations_of(database_url: str, party: str) -> list[tuple[str, str]]:
    """The tables and views in the login's schema, as `schema.name`, with their kind."""
    async with await AsyncConnection.connect(database_url) as conn:
        cursor = await conn.execute(
            "SELECT format('%%I.%%I', n.nspname, c.relname), c.relkind::text FROM pg_class AS c"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind IN ('r', 'v')"
            " ORDER BY 1",
            (role_of(party),),
        )
        return [(str(name), str(kind)) for name, kind in await cursor.fetchall()]


async def whole(database_url: str) -> list[tuple[object, ...]]:
    """A snapshot of what a login could change: relations with owners and privileges, schemas, logins, rows."""
    async with await AsyncConnection.connect(database_url) as conn:
        snapshot: list[tuple[object, ...]] = []
        for query in (
            "SELECT n.nspname, n.nspowner::regrole::text, n.nspacl::text FROM pg_namespace AS n"
            " WHERE n.nspname !~ '^pg_(toast_)?temp' ORDER BY 1",
            "SELECT c.oid::regclass::text, c.relowner::regrole::text, c.relacl::text, c.relkind::text"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname ~ '^(vestnik_|public)' ORDER BY 1",
            "SELECT rolname, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname ~ '^vestnik' ORDER BY 1",
            "SELECT roleid::regrole::text, member::regrole::text, inherit_option, set_option FROM pg_auth_members"
            " ORDER BY 1, 2",
            "SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclacl::text FROM pg_default_acl"
            " ORDER BY 1, 2",
            "SELECT extname FROM pg_extension ORDER BY 1",
        ):
            snapshot += await (await conn.execute(query.encode())).fetchall()
        for service in SERVICES:
            for name, kind in await relations_of(database_url, service):
                if kind == "r":
                    cursor = await conn.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*name.split("."))))
                    snapshot += [(name, *row) for row in await cursor.fetchall()]
        return snapshot
