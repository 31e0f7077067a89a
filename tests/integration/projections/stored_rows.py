"""What a stream contains, and how many rows a build has made of it."""

from nats.aio.client import Client

from contracts.subjects import MESSAGING
from projections.engine.storage.builds import Connection
from streams.message import Message
from streams.reader import Reader
from tests.fix_postgres import Pool


async def stored(nc: Client, stream: str = MESSAGING) -> list[Message]:
    """All that is in the stream."""
    messages: list[Message] = []
    async with Reader(nc, stream, name="test") as reader:
        async for batch in reader.batches():
            messages += batch.messages
            if batch.pending == 0 and messages:
                break
    return messages


async def number(conn: Connection, query: str) -> int:
    row = await (await conn.execute(query.encode())).fetchone()
    assert row is not None
    return int(str(row[0]))


COUNT = "SELECT coalesce(sum(messages), 0) FROM letters_v1_b1"
TEXTS = "SELECT count(*) FROM letters_texts_v1_b1"


async def rows(conn: Connection, query: str) -> list[tuple[object, ...]]:
    return await (await conn.execute(query.encode())).fetchall()


async def fetched(pool: Pool, query: str) -> list[tuple[object, ...]]:
    async with pool.connection() as conn:
        return await rows(conn, query)
