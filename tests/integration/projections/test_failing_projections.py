"""A projection whose code fails: it reports that, lets no caller wait, and recovers when the cause is gone."""

import asyncio
import gc
import logging

from nats.aio.client import Client

from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from projections.engine import Projection
from projections.engine.apply.batch import Batch
from projections.engine.reading.shared_reader import SharedReaders
from projections.engine.running import last_errors
from projections.engine.running.runner import Runner
from projections.engine.status.status import ProjectionStatus, projection_statuses
from projections.engine.storage.connections import connect
from projections.engine.waiting.position_waiter import PositionWaiter
from tests.fix_postgres import Pool
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer, until_ready
from tests.integration.projections.sample_projection import Letters

# Counts attempts also of transactions that are rolled back.
_WITHOUT_SPACE = """
    CREATE SEQUENCE attempts;
    GRANT ALL ON SEQUENCE attempts TO public;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM nextval('attempts');
        RAISE 'could not extend file' USING ERRCODE = 'disk_full';
    END $$;
    CREATE TRIGGER refuses BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()
"""


class Refused(Projection):
    """A projection whose tables are refused until the type that they use exists."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {refused} (id later PRIMARY KEY)"


class Raising(Projection):
    """A projection whose handler raises."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {raising} (id uuid PRIMARY KEY)"

    def __init__(self) -> None:
        raise ZeroDivisionError("never made")


async def test_what_the_database_refuses_has_failed_until_the_database_takes_it(
    streams: Client, run: Opened, pool: Pool
) -> None:
    runners = await run(Refused)
    await until_ready(runners)
    status = await until_state(Refused, "failed", pool, streams)
    assert status.last_error is not None
    assert 'type "later" does not exist' in status.last_error.error
    async with pool.connection() as conn:
        await conn.execute("CREATE DOMAIN later AS uuid")
    assert (await until_state(Refused, "live", pool, streams)).last_error is not None
    await until_ready(runners)


async def test_one_whose_code_raises_has_failed_and_others_go_on(streams: Client, run: Opened, pool: Pool) -> None:
    await until_ready(await run(Raising, Letters))
    status = await until_state(Raising, "failed", pool, streams)
    assert status.last_error is not None
    assert status.last_error.error == "ZeroDivisionError: never made"
    await until_state(Letters, "live", pool, streams)


async def test_only_the_active_replica_says_whether_a_projection_fails(
    streams: Client, run: Opened, pool: Pool, database_url: str
) -> None:
    await until_ready(await run(Letters))
    standby = Runner(Letters, streams, database_url, PositionWaiter([Letters], streams, pool), SharedReaders(streams))
    for _ in range(3):
        standby._note(ValueError("its last attempt"))
    async with await connect(database_url, "standby") as conn:
        await standby._record_error(conn)
        status = await until_state(Letters, "live", pool, streams)
        assert status.last_error is not None
        assert status.last_error.error == "ValueError: its last attempt"
        await last_errors.failing(conn, Letters.name, Letters.version)
        await standby._stand_by(conn)
        assert (standby.ready, standby.failed) == (True, True)
        await last_errors.recovered(conn, Letters.name, Letters.version)
        await standby._stand_by(conn)
        assert not standby.failed


async def test_what_failed_attempts_have_read_is_not_kept(streams: Client, run: Opened, pool: Pool) -> None:
    await until_ready(await run(Letters))
    async with pool.connection() as conn:
        await conn.execute(_WITHOUT_SPACE.format(table="letters_texts_v1_b1"))
    # A captured record would keep its error, and with it the frames of the attempt.
    logging.disable(logging.WARNING)
    gc.collect()
    gc.disable()
    before = _batches()
    try:
        await Writer(streams).fill([new_id()], 500)
        async with asyncio.timeout(PATIENCE), pool.connection() as conn:
            while (await (await conn.execute("SELECT last_value FROM attempts")).fetchone() or (0,))[0] < 6:
                await asyncio.sleep(0.02)
        # Those of the current attempt.
        assert _batches() - before <= 2
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def _batches() -> int:
    """The number of batches in memory, whether or not they can still be reached."""
    return sum(isinstance(thing, Batch) for thing in gc.get_objects())


async def until_state(projection: type[Projection], state: str, pool: Pool, streams: Client) -> ProjectionStatus:
    async with asyncio.timeout(PATIENCE):
        while True:
            async with pool.connection() as conn:
                (status,) = await projection_statuses([projection], conn, streams, [])
            if status.state == state:
                return status
            await asyncio.sleep(0.02)
