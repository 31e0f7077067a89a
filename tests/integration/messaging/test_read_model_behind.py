"""Sending while the read model stands still: what it has not seen yet is looked up in the stream."""

import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import ReadModelBehind
from contracts.identifiers import new_id, pair_id
from contracts.positions import Position
from contracts.subjects import MESSAGING, conversation
from infra.rpc.client import Client
from infra.rpc.context import Call
from infra.secrets import Secrets
from infra.settings import Settings
from projections.conversations import Conversations
from projections.engine import ReadModel, Runners
from services.messaging import commands
from services.messaging.clients import Friendships, Remembered
from services.messaging.commands import SendCommands
from services.messaging.domain import SendMessage
from services.messaging.queries import MessageQueries
from streams.log import Log
from tests.fix_postgres import Pool

ANNA, BEN = new_id(), new_id()
CALL = Call(request_id=new_id())


class Replica:
    """The sending part of one process, with nothing remembered but the friendship."""

    def __init__(self, nats: NATS, pool: Pool, runners: Runners, folder: Path) -> None:
        self._remembered = Remembered()
        contact = Client("contact", me="messaging", settings=Settings(), secrets=Secrets.create(folder))
        queries = MessageQueries(ReadModel(Conversations, pool, runners.waiting))
        self._commands = SendCommands(Log(nats), Friendships(contact, self._remembered), queries)

    async def send(self, client_message_id: str) -> tuple[str, bool]:
        self._remembered.reached(0)
        self._remembered.remember(pair_id(ANNA, BEN), self._remembered.ended)
        command = SendMessage(
            message_id=new_id(),
            sender_id=ANNA,
            recipient_id=BEN,
            text="text",
            client_message_id=client_message_id,
        )
        message, created = await self._commands.send(command, CALL)
        return message.message_id, created


async def caught_up(streams: NATS, pool: Pool, database_url: str) -> Runners:
    """The read model, brought up to the end of its streams and then left alone."""
    runners = Runners([Conversations], streams, pool, database_url)
    await runners.start()
    async with asyncio.timeout(20):
        while not runners.ready():
            await asyncio.sleep(0.01)
    end = Position.at(MESSAGING, await Log(streams).end_of(MESSAGING))
    await ReadModel(Conversations, pool, runners.waiting).wait_for(end, timeout=20)
    await runners.stop()
    return runners


async def test_no_message_is_doubled_however_far_the_read_model_is_behind(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    first = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    ids = [(await first.send(f"id{number}"))[0] for number in range(100)]
    runners = await caught_up(streams, pool, database_url)
    ids += [(await first.send(f"id{number}"))[0] for number in range(100, 250)]
    for replica in (first, Replica(streams, pool, runners, tmp_path)):
        for number in (0, 50, 99, 100, 101, 150, 249):
            assert await replica.send(f"id{number}") == (ids[number], False)
    assert len(await Log(streams).read(conversation(pair_id(ANNA, BEN)))) == 250


async def test_two_replicas_write_to_one_conversation_in_turn(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    runners = await caught_up(streams, pool, database_url)
    replicas = [Replica(streams, pool, runners, tmp_path) for _ in range(2)]
    for number in range(30):
        message_id, created = await replicas[number % 2].send(f"id{number}")
        assert created
        for replica in replicas:
            assert await replica.send(f"id{number}") == (message_id, False)


async def test_sending_waits_for_better_times_when_the_read_model_is_too_far_behind(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runners = await caught_up(streams, pool, database_url)
    first = Replica(streams, pool, runners, tmp_path)
    for number in range(20):
        await first.send(f"id{number}")
    monkeypatch.setattr(commands, "MOST_BEHIND", 10)
    cold = Replica(streams, pool, runners, tmp_path)
    with pytest.raises(ReadModelBehind):
        await cold.send("id20")
    await caught_up(streams, pool, database_url)
    assert (await cold.send("id20"))[1]
