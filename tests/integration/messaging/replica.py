"""The sending part of messaging in the test's process, in any number of replicas."""

import asyncio
from pathlib import Path

from nats.aio.client import Client as NATS

from contracts.positions import Position
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id, pair_id
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.security.secrets import Secrets
from infra.settings import Settings
from projections.conversations import Conversations
from projections.engine import ReadModel, Runners
from services.messaging.changes.commands import message_repository
from services.messaging.clients import FriendshipCache, Friendships
from services.messaging.commands import SendCommands
from services.messaging.domain import SendMessage
from services.messaging.message_lookup import MessageLookup
from services.messaging.queries import ClientIdPage, DuplicateLookup, MessageQueries
from streams.log import Log
from tests.fix_postgres import Pool

ANNA, BEN = new_id(), new_id()
CALL = Call(request_id=new_id())


class CountedQueries(MessageQueries):
    """Counts the lookups of one id, and those of many."""

    asked = loaded = 0

    async def by_client_id(self, conversation_id: str, sender_id: str, client_message_id: str) -> DuplicateLookup:
        self.asked += 1
        return await super().by_client_id(conversation_id, sender_id, client_message_id)

    async def client_ids(self, conversation_id: str, after: int, until: int) -> ClientIdPage:
        self.loaded += 1
        return await super().client_ids(conversation_id, after, until)


class Replica:
    """The sending part of one process; only the friendship is cached."""

    def __init__(self, nats: NATS, pool: Pool, runners: Runners, folder: Path, *, log: Log | None = None) -> None:
        self._remembered = FriendshipCache()
        self._remembered.follows(0)
        contact = Client("contact", me="messaging", settings=Settings(), secrets=Secrets.create(folder))
        self.queries = CountedQueries(ReadModel(Conversations, pool, runners.waiting))
        log = log or Log(nats)
        self._commands = SendCommands(
            log,
            Friendships(contact, self._remembered),
            self.queries,
            MessageLookup(log, self.queries),
            message_repository(log),
        )

    async def send(self, client_message_id: str, text: str = "text", *, to: str = BEN) -> tuple[str, bool]:
        self._remembered.reached(0)
        self._remembered.remember(pair_id(ANNA, to), 0)
        command = SendMessage(
            message_id=new_id(),
            sender_id=ANNA,
            recipient_id=to,
            text=text,
            client_message_id=client_message_id,
        )
        outcome = await self._commands.send(command, CALL)
        return outcome.message.message_id, outcome.created


async def caught_up(streams: NATS, pool: Pool, database_url: str) -> Runners:
    """Builds the read model up to the end of its streams, then stops its runners."""
    runners = Runners([Conversations], streams, pool, database_url)
    await runners.start()
    async with asyncio.timeout(60):
        while not runners.ready():
            await asyncio.sleep(0.01)
    end = Position.at(MESSAGING, await Log(streams).end_of(MESSAGING))
    await ReadModel(Conversations, pool, runners.waiting).wait_for(end, timeout=60)
    await runners.stop()
    return runners
