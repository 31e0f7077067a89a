"""A stream contains events of every released schema; readers get only the current schema."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from nats.aio.client import Client

from contracts.durable_consumers import Durable
from contracts.envelope import Provenance, Recorded
from contracts.events.event import Event
from contracts.subjects import MESSAGING, conversation
from contracts.upcasts import STEPS
from contracts.values.ids import new_id
from infra.cli.events.events import events
from infra.embedded.nats_server import NatsServer
from streams.log import Log
from streams.reactions.reactor import EventReactor
from streams.reactions.retries import Retries
from streams.reader import Reader
from streams.repository import Repository
from tests.fix_older_events import ANNA, STORED, TODAY, GreetingSent, as_stored
from tests.integration.streams.test_events_command import ENVELOPE

PATIENCE = 60
TALK = new_id()

Show = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def stored(greetings: None, log: Log) -> Log:
    """One aggregate with an event of each schema, oldest first."""
    for index, schema in enumerate(STORED):
        await log.append(as_stored(schema, TALK, expected=index, version=index + 1))
    return log


@pytest.fixture
def show(nats_server: NatsServer, tmp_path: Path) -> Show:
    """`vestnik events --json` within this process, since the event is known to this test alone."""
    environment = {"VESTNIK_NATS_URL": nats_server.url, "VESTNIK_DATA_DIR": str(tmp_path)}

    async def run(*options: str) -> list[dict[str, Any]]:
        arguments = ["--json", *options]
        result = await asyncio.to_thread(CliRunner().invoke, events, arguments, env=environment)
        if result.exception is not None:
            raise result.exception
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


async def test_a_subject_and_a_stream_are_read_in_todays_shape(stored: Log, streams: Client) -> None:
    assert [message.open().data for message in await stored.read(conversation(TALK))] == [TODAY] * 3
    last = await stored.last(conversation(TALK))
    assert last is not None
    assert last.open().data == TODAY
    event_data: list[Event] = []
    async with asyncio.timeout(PATIENCE), Reader(streams, MESSAGING, name="older") as reader:
        async for batch in reader.batches():
            event_data += [message.open().data for message in batch.messages]
            if batch.position == 3:
                break
    assert event_data == [TODAY] * 3


@pytest.mark.parametrize("tail_only", [False, True])
async def test_a_repository_loads_and_goes_on_from_older_events(greetings: None, log: Log, tail_only: bool) -> None:
    def evolve(state: int, event: Event, at: datetime) -> int:
        assert isinstance(event, GreetingSent)
        return event.words + (0 if tail_only else state)

    def repository() -> Repository[int]:
        return Repository(log, subject=conversation, initial=0, evolve=evolve, tail_only=tail_only)

    known = repository()
    await log.append(as_stored(1, TALK, expected=0, version=1))
    assert (await known.load(TALK)).state == 2
    await log.append(as_stored(2, TALK, expected=1, version=2))
    outcome = await known.execute(TALK, lambda state: [TODAY], Provenance())
    total = 2 if tail_only else 6
    assert (outcome.state, outcome.version) == (total, 3)
    assert (await repository().load(TALK)).state == total
    schemas = [message.envelope().schema for message in await log.read(conversation(TALK))]
    assert schemas == [1, 2, 3]


async def test_a_reaction_is_given_todays_shape(stored: Log, streams: Client) -> None:
    seen: asyncio.Queue[Recorded[Event]] = asyncio.Queue()
    greeter = Durable(name="greeter", service="messaging", stream=MESSAGING, subject_filter=conversation("*"))
    reaction = EventReactor(streams, greeter, seen.put, at_once=1, retries=Retries(first_pause=0.1))
    running = asyncio.create_task(reaction.run())
    try:
        async with asyncio.timeout(PATIENCE):
            assert [(await seen.get()).data for _ in STORED] == [TODAY] * 3
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_command_shows_older_events_in_todays_shape(stored: Log, show: Show) -> None:
    shown = await show("--id", TALK)
    assert [(event["schema"], event["data"]) for event in shown] == [(3, STORED[3])] * 3
    assert [event["version"] for event in shown] == [1, 2, 3]
    assert all(set(event) == ENVELOPE | {"stream", "sequence", "subject"} for event in shown)


async def test_raw_shows_them_as_they_are_stored(stored: Log, show: Show) -> None:
    shown = await show("--raw", "--type", GreetingSent.TYPE)
    payloads = [json.loads(message.payload) for message in await stored.read(conversation(TALK))]
    assert [{name: event[name] for name in ENVELOPE} for event in shown] == payloads
    assert [event["data"] for event in shown] == list(STORED.values())


async def test_a_schema_of_a_later_release_is_shown_as_it_is_stored(stored: Log, show: Show) -> None:
    changed = {"greeter": ANNA}
    late = as_stored(3, TALK, expected=3, version=4)
    data = msgspec.Raw(json.dumps(changed).encode())
    envelope = msgspec.structs.replace(late.envelope, schema=4, data=data)
    await stored.append(msgspec.structs.replace(late, envelope=envelope))
    for options in ((), ("--raw",)):
        last = (await show(*options))[-1]
        assert (last["schema"], last["data"]) == (4, changed)


async def test_an_older_private_event_is_shown_without_data_raw_or_not(
    stored: Log, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GreetingSent, "PRIVATE", True)
    for options in ((), ("--raw",)):
        shown = await show(*options)
        assert [(event["schema"], event["data"]) for event in shown] == [(1, None), (2, None), (3, None)]


async def test_the_error_of_a_failing_step_names_its_event(
    stored: Log, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STEPS, (GreetingSent.TYPE, 1), lambda data: data["gone"])
    first, *others = await show()
    assert "MESSAGING 1 (greeting.sent, schema 1) cannot be upcast to schema 3; --raw" in first["error"]
    assert [event["sequence"] for event in (first, *others)] == [1, 2, 3]
    assert [event["schema"] for event in others] == [3, 3]
    assert len(await show("--raw")) == 3
