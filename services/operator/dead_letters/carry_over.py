"""Migrates discards of an older release, which stored them only in the database, into the stream."""

import asyncio
import logging

from nats.aio.client import Client as NATS
from psycopg import Error as DatabaseError

from contracts.errors import VestnikError
from contracts.subjects import OPERATOR
from infra.operator_errors import OperatorError
from infra.security.service_schemas import ServiceSchemas
from projections.engine.dead_letters import discards
from projections.engine.storage.connections import connect
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Log

logger = logging.getLogger(__name__)
# Seconds between attempts: the first pause and the longest.
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0


async def carry_over(nc: NATS, log: Log, database_url: str) -> None:
    """Retries until the migration is done, then returns. Idempotent."""
    pause = _PAUSE_SECONDS
    while True:
        try:
            count = await _carry_over(nc, log, database_url)
        except (VestnikError, OperatorError, DatabaseError, OSError, Refused, RequestFailed) as error:
            logger.warning("discards of an older release are not in the stream yet: %s; again in %.0f s", error, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            if count:
                logger.info("%d discards of an older release are in the stream now", count)
            return


async def _carry_over(nc: NATS, log: Log, database_url: str) -> int:
    made = (await JetStream(nc).info(OPERATOR)).created_at
    count = 0
    for place in (await ServiceSchemas.discover(database_url)).urls():
        conn = await connect(place, "operator carry-over")
        try:
            count += await discards.carry_over(conn, nc, log, made)
        finally:
            await conn.close()
    return count
