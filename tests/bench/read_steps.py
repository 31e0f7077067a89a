"""CPU time of each step of reading a page, each step alone, in microseconds.

As in `send_steps`: the rest is played by something that answers at once, and of some rounds the least counts, so that a
busy machine does not show. `database` is what the database's own processes add to the step before it. In `…-changed` a
quarter of the messages are replies, a quarter have reactions, every third of these from both people, and a fifth were
edited.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    GetMessagesRequest,
    GetMessagesResponse,
    MessagingServiceBase,
    MessagingServiceStub,
)
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id, pair_id
from infra.embedded.ports import free_port
from infra.rpc.call_context import Call, enter
from infra.rpc.client import Client
from infra.rpc.server import RpcServer
from infra.runtime.connections import open_pool
from infra.security.secrets import Secrets
from infra.settings import Settings
from projections.conversations import Conversations
from projections.engine import ReadModel
from projections.engine.rebuild.cutover import cut_over, start_build
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.engine.storage.tables import add_indexes, physical_names
from projections.engine.waiting.position_waiter import PositionWaiter
from services.gateway.app import create_app
from services.gateway.cache.message_pages import KnownPages
from services.gateway.route_table import ENDPOINTS
from services.gateway.server.http_protocol import BoundedProtocol
from services.messaging.pages.newest_page_cache import NewestPages
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import PageQueries
from services.messaging.pages.server import PageServer
from tests.bench import servers
from tests.bench.messenger.gauges import processor_seconds
from tests.bench.played_gateway import ANNA, BORIS, TEXT, Played, PlayedLive, Step, Wire
from tests.bench.report import machine
from tests.bench.send_steps import AT_ONCE, ROUNDS
from tests.processes import family

_CONVERSATIONS, _MESSAGES = 256, 120
# Older pages begin below it.
_OLDER = 100
POSITION = Position.at(MESSAGING, 123_456).encode()


def ready(version: str = "") -> GetMessagesResponse:
    """A page of messages."""
    item = {
        "message_id": new_id(),
        "sequence": 7,
        "sender_id": ANNA,
        "text": TEXT,
        "sent_at": "2026-01-31T12:00:00.000Z",
        "seen_at": "2026-01-31T12:00:00.000Z",
    }
    return GetMessagesResponse(
        items=msgspec.json.encode([item] * 50), last=1, more=True, version=version, position=POSITION
    )


def unchanged() -> GetMessagesResponse:
    """The same for a caller that has the page already: the answer is "unchanged"."""
    return GetMessagesResponse(unchanged=True, position=POSITION)


class PlayedReading(Played):
    """Answers so; with that nothing has changed, once the caller has a page."""

    def __init__(self, answer: GetMessagesResponse) -> None:
        super().__init__(limited=False)
        self.get_messages = None
        self.pages = KnownPages()
        self.live = cast(Any, PlayedLive(self.positions_reached()))
        self._answer = answer

    async def read(self, method: object, request: GetMessagesRequest) -> GetMessagesResponse:
        return ready("7") if self._answer.unchanged and not request.known else self._answer


@asynccontextmanager
async def http(answer: GetMessagesResponse) -> AsyncIterator[Step]:
    """The gateway from the bytes of a request to the bytes of its answer, without the call to messaging."""
    import uvicorn
    from uvicorn.server import ServerState

    played = PlayedReading(answer)
    app = create_app(ENDPOINTS, cast(Any, played))
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, server_header=False, proxy_headers=False
    )
    config.load()
    protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state={})
    protocol.connection_made(Wire())
    request = (
        f"GET /v1/conversations/{BORIS}/messages?limit=50 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
        f"Authorization: Bearer {played.keys.token}\r\n\r\n"
    ).encode()

    async def step(count: int) -> None:
        for _ in range(count):
            protocol.data_received(request)
            while not protocol.cycle.response_complete:
                await asyncio.sleep(0)

    yield step
    protocol.connection_lost(None)


class Answering(MessagingServiceBase):
    def __init__(self, answer: GetMessagesResponse) -> None:
        self._answer = answer

    async def get_messages(self, message: GetMessagesRequest) -> GetMessagesResponse:
        return self._answer


@asynccontextmanager
async def calls(answer: GetMessagesResponse, *, carried: bool) -> AsyncIterator[Step]:
    """64 concurrent calls over TCP; includes the work of client and server."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = Secrets.create(Path(folder) / "secrets")
        port = free_port()
        server = RpcServer("messaging", [Answering(answer)], secrets=secrets)
        await server.start("127.0.0.1", port)
        settings = Settings(addresses={"messaging": f"127.0.0.1:{port}"})
        client = Client("messaging", me="gateway", settings=settings, secrets=secrets, carried=carried)
        stub = client.stub(MessagingServiceStub)

        async def one(count: int) -> None:
            enter(Call(request_id=new_id(), actor=ANNA, position=Position.at(MESSAGING, 123_456)))
            for _ in range(count):
                request = GetMessagesRequest(user_id=ANNA, peer_id=BORIS, limit=50)
                await client.call(stub.get_messages, request, timeout=12.0, idempotent=True)

        async def step(count: int) -> None:
            await asyncio.gather(*(one(count // AT_ONCE) for _ in range(AT_ONCE)))

        yield step
        client.close()
        await server.drain(1.0)


@asynccontextmanager
async def reading(*, kept: bool, changed: bool = False, before: int | None = None) -> AsyncIterator[Step]:
    """Messaging from the received call to its answer, with a PostgreSQL that has the rows in memory.

    `before`: of the older page below it instead of the newest one.
    """
    async with servers.postgres() as url:
        peers = await _filled(url, changed=changed)
        pool = await open_pool(url, "bench")
        try:
            nothing = cast(Any, None)
            model = ReadModel(Conversations, pool, PositionWaiter([Conversations], nothing, pool))
            pages = PageReader(PageQueries(model), NewestPages() if kept else NewestPages(most_bytes=0))
            server = PageServer(pages, nothing)
            turns = cycle(peers)

            async def one(count: int) -> None:
                enter(Call(request_id=new_id(), actor=ANNA))
                for _ in range(count):
                    await server.get_messages(
                        GetMessagesRequest(user_id=ANNA, peer_id=next(turns), limit=50, before=before)
                    )

            async def step(count: int) -> None:
                await asyncio.gather(*(one(count // AT_ONCE) for _ in range(AT_ONCE)))

            await step(2 * _CONVERSATIONS)
            yield step
            await pages.stop()
        finally:
            await pool.close()


async def _filled(url: str, *, changed: bool) -> list[str]:
    """A live build with a person's conversations: the others in them."""
    conn = await connect(url, "bench")
    try:
        await ensure_schema(conn)
        build = await start_build(conn, Conversations)

        async def nothing(position: Position) -> bool:
            return True

        assert await cut_over(conn, Conversations, build, nothing)
        peers = [new_id() for _ in range(_CONVERSATIONS)]
        tables = physical_names(Conversations, build)
        pairs = [pair_id(ANNA, peer) for peer in peers]
        await conn.execute(
            f"""
            INSERT INTO {tables["conversations"]}
                (user_id, peer_id, conversation_id, open, last_sent_at, stream_sequence)
            SELECT %s::uuid, peer, pair, true, now(), 7 FROM unnest(%s::uuid[], %s::uuid[]) AS u (peer, pair)
            """,
            (ANNA, peers, pairs),
        )
        await conn.execute(
            f"""
            INSERT INTO {tables["messages"]}
            SELECT pair, n, gen_random_uuid(), CASE WHEN n %% 3 = 0 THEN %s::uuid ELSE peer END, %s, now(), n::text, n
            FROM unnest(%s::uuid[], %s::uuid[]) AS u (peer, pair), generate_series(1, %s) AS n
            """,
            (ANNA, TEXT, peers, pairs, _MESSAGES),
        )
        if changed:
            await conn.execute(
                f"""
                UPDATE {tables["messages"]} SET reacted = sequence % 4 = 0,
                    edited_at = CASE WHEN sequence % 5 = 0 THEN now() END,
                    reply_to_sequence = CASE WHEN sequence % 4 = 2 THEN sequence - 1 END
                """
            )
            await conn.execute(
                f"""
                INSERT INTO {tables["reactions"]}
                SELECT conversation_id, sequence, u.user_id, CASE WHEN sequence % 8 = 0 THEN '👍' ELSE '❤️' END,
                       sequence
                FROM {tables["messages"]} JOIN {tables["conversations"]} AS c USING (conversation_id), unnest(
                    CASE WHEN sequence % 12 = 0 THEN ARRAY[c.user_id, c.peer_id] ELSE ARRAY[c.peer_id] END
                ) AS u (user_id)
                WHERE reacted
                """
            )
        await add_indexes(conn, Conversations, build)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()
    return peers


STEPS: dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Step]]] = {
    "http": lambda: http(ready()),
    "http-unchanged": lambda: http(unchanged()),
    "call-by-itself": lambda: calls(ready(), carried=False),
    "call-carried": lambda: calls(ready(), carried=True),
    "call-carried-unchanged": lambda: calls(unchanged(), carried=True),
    "reading-made": lambda: reading(kept=False),
    "reading-made-changed": lambda: reading(kept=False, changed=True),
    "reading-older": lambda: reading(kept=False, before=_OLDER),
    "reading-older-changed": lambda: reading(kept=False, changed=True, before=_OLDER),
    "reading-kept": lambda: reading(kept=True),
    "reading-kept-changed": lambda: reading(kept=True, changed=True),
}


def _database_seconds() -> float:
    return sum(
        processor_seconds(process.pid)
        for process in family(os.getpid())
        if process.command and "postgres" in process.command[0]
    )


async def measure(names: list[str], count: int) -> dict[str, float]:
    microseconds: dict[str, float] = {}
    for name in names:
        async with STEPS[name]() as step:
            await step(AT_ONCE)
            best, database = float("inf"), float("inf")
            for _ in range(ROUNDS):
                begin, before = time.process_time(), _database_seconds()
                await step(count)
                best = min(best, time.process_time() - begin)
                database = min(database, _database_seconds() - before)
            microseconds[name] = round(best / count * 1e6, 1)
            if name.startswith("reading"):
                microseconds[f"{name}: database"] = round(database / count * 1e6, 1)
    return microseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", nargs="*", choices=[*STEPS, []], help="default: all of them")
    parser.add_argument("--count", type=int, default=2_048)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    microseconds = uvloop.run(measure(arguments.step or list(STEPS), arguments.count))
    if arguments.json:
        sys.stdout.write(msgspec.json.encode({"microseconds": microseconds, "machine": machine()}).decode() + "\n")
        return
    for name, spent in microseconds.items():
        sys.stdout.write(f"{name:<28}{spent:>10,.1f} µs\n")


if __name__ == "__main__":
    main()
