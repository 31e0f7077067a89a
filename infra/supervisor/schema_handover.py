"""Moves read models from `public` into the services' schemas, for data directories older than per-service logins.

They could be rebuilt from the streams, except for the discards of an older release, which are only in the tables until
the operator's process carries them over. The move is one transaction, so an interrupted start leaves either the old
state or the new one.
"""

import logging

from psycopg import AsyncConnection, sql
from psycopg import Error as DatabaseError

from infra.operator_errors import OperatorError
from infra.security.postgres_roles import role_of
from infra.security.secrets import OPERATOR
from infra.security.service_schemas import ServiceSchemas
from projections.engine.storage.builds import Connection
from projections.engine.storage.schema import ensure_schema
from projections.registry import broken, catalogue

log = logging.getLogger(__name__)
_BEFORE = "public"
# Tables that others reference come first.
_OF_A_PROJECTION = (
    "projection_builds",
    "projection_checkpoints",
    "projection_dead_letters",
    "projection_progress",
    "projection_lost_events",
    "projection_discards",
    "projection_errors",
)
_ENGINE = (*_OF_A_PROJECTION, "projection_schema")
_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
# The tables of each build, and any views over them: all are called `<name>_v<version>…`.
_RELATIONS = """
SELECT DISTINCT b.projection, r.relname::text, r.relkind::text FROM public.projection_builds AS b
JOIN pg_class AS r ON r.relnamespace = 'public'::regnamespace AND r.relkind IN ('r', 'v')
WHERE r.relname = ANY(b.tables) OR r.relname = ANY(
    ARRAY(SELECT regexp_replace(name, '_b[0-9]+$', '') FROM unnest(b.tables) AS name))
ORDER BY r.relkind::text DESC, r.relname::text
"""


class NotHandedOver(OperatorError):
    """The database refused the handover; the read models are unchanged."""


async def part(database_url: str) -> None:
    """Hands over the read models left in `public`; needs the superuser's URL and existing logins.

    Raises:
        NotHandedOver: the database refused, or some projections do not load.
    """
    try:
        await _part(database_url)
    except DatabaseError as error:
        reason = str(error).partition("\n")[0]
        raise NotHandedOver(f"read models cannot be handed over to their services: {reason}") from error


async def _part(database_url: str) -> None:
    conn: Connection = await AsyncConnection.connect(database_url, autocommit=True)
    try:
        cursor = await conn.execute("SELECT to_regclass('public.projection_builds') IS NOT NULL")
        if await cursor.fetchone() != (True,):
            return
        if failed := broken():
            raise NotHandedOver(f"read models are handed over once all projections load; {', '.join(failed)} cannot be")
        log.info("read models are handed over to their services")
        await _make_ready(conn, database_url)
        async with conn.transaction():
            owners = {name: projection.run_by() for name, projection in catalogue().items()}
            await _hand_over(conn, owners)
            for table in reversed(_ENGINE):
                await conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(_BEFORE, table)))
    finally:
        await conn.close()


async def _make_ready(conn: Connection, database_url: str) -> None:
    """Updates the engine's tables to the current schema: those in `public` and those of the services."""
    await ensure_schema(conn)
    for place in (await ServiceSchemas.discover(database_url)).urls():
        theirs: Connection = await AsyncConnection.connect(place, autocommit=True)
        try:
            await ensure_schema(theirs)
        finally:
            await theirs.close()


async def _hand_over(conn: Connection, owners: dict[str, str]) -> None:
    for service in set(owners.values()):
        names = [name for name, owner in owners.items() if owner == service]
        for table in _OF_A_PROJECTION:
            cursor = await conn.execute(_COLUMNS, (f"{_BEFORE}.{table}",))
            columns = sql.SQL(", ").join(sql.Identifier(str(column)) for (column,) in await cursor.fetchall())
            await conn.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE projection = ANY(%s)").format(
                    sql.Identifier(role_of(service), table), columns, columns, sql.Identifier(_BEFORE, table)
                ),
                (names,),
            )
    cursor = await conn.execute(_RELATIONS)
    for projection, name, kind in await cursor.fetchall():
        what, relation = sql.SQL("VIEW" if kind == "v" else "TABLE"), sql.Identifier(_BEFORE, str(name))
        if str(projection) not in owners:
            # Its code no longer exists.
            await conn.execute(sql.SQL("DROP {} {}").format(what, relation))
            continue
        role = role_of(owners[str(projection)])
        await conn.execute(sql.SQL("ALTER {} {} OWNER TO {}").format(what, relation, sql.Identifier(role)))
        await conn.execute(sql.SQL("ALTER {} {} SET SCHEMA {}").format(what, relation, sql.Identifier(role)))
        await conn.execute(
            sql.SQL("GRANT SELECT ON {} TO {}").format(
                sql.Identifier(role, str(name)), sql.Identifier(role_of(OPERATOR))
            )
        )
