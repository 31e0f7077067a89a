"""Messages to one conversation at the same moment: in order, once each, and no more syncs to disk than needed."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from nats.aio.client import Client as NATS

from contracts.errors import ClientMessageIdReused, DeadlineExceeded, NotFriends, Unavailable
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING, conversation
from contracts.values.ids import new_id, pair_id
from services.messaging.domain import Conversation, SendMessage, Sent, decide_send
from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Answer
from streams.log import Log
from tests.fix_postgres import Pool
from tests.history_checker import History, RecordingLog, all_of
from tests.integration.messaging.replica import ANNA, BEN, Replica, caught_up

CONVERSATION = conversation(pair_id(ANNA, BEN))


async def stored(streams: NATS) -> list[MessageSent]:
    """All messages of the conversation, whose sequences and versions are dense."""
    opened = [message.open() for message in await Log(streams).read(CONVERSATION)]
    messages = [event.data for event in opened if isinstance(event.data, MessageSent)]
    assert [event.version for event in opened] == [*range(1, len(opened) + 1)]
    assert [message.sequence for message in messages] == [*range(1, len(opened) + 1)]
    return messages


async def test_they_are_stored_in_the_order_in_which_they_came_and_in_few_batches(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    replica = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    sent = await asyncio.gather(*(replica.send(f"id{number}") for number in range(100)))
    assert all(created for _, created in sent)
    messages = await stored(streams)
    assert [message.message_id for message in messages] == [message_id for message_id, _ in sent]
    js = streams.jetstream()
    headers = [(await js.get_msg(MESSAGING, sequence)).headers or {} for sequence in range(1, 101)]
    # The first one went at once, those that came meanwhile in as many batches as a line's bound makes of them.
    assert "Nats-Batch-Id" not in headers[0]
    assert len({message_headers["Nats-Batch-Id"] for message_headers in headers[1:]}) == 2
    assert replica.queries.asked == replica.queries.loaded == 0
    assert await asyncio.gather(*(replica.send(f"id{number}") for number in range(100))) == [
        (message_id, False) for message_id, _ in sent
    ]


async def test_a_repeat_at_the_same_moment_is_the_same_message(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    replica = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    answers = await asyncio.gather(*(replica.send(f"id{number % 5}") for number in range(40)))
    for number in range(5):
        same = answers[number::5]
        assert {message_id for message_id, _ in same} == {same[0][0]}
        assert [created for _, created in same] == [True, *[False] * 7]
    assert len(await stored(streams)) == 5


async def test_another_text_under_an_id_of_the_same_moment_is_refused_and_nothing_else(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    replica = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    answers = await asyncio.gather(
        *(replica.send(f"id{number}") for number in range(10)),
        *(replica.send(f"id{number}", "another text") for number in range(10)),
        *(replica.send(f"id{number}") for number in range(10, 20)),
        return_exceptions=True,
    )
    assert all(isinstance(answer, ClientMessageIdReused) for answer in answers[10:20])
    assert all(isinstance(answer, tuple) and answer[1] for answer in answers[:10] + answers[20:])
    assert len(await stored(streams)) == 20


async def test_two_replicas_at_the_same_moment_store_each_message_once(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path
) -> None:
    runners = await caught_up(streams, pool, database_url)
    replicas = [Replica(streams, pool, runners, tmp_path) for _ in range(2)]
    # Every message is asked for at both.
    for start in range(0, 120, 40):
        numbers = range(start, start + 40)
        one, other = await asyncio.gather(
            *(asyncio.gather(*(replica.send(f"id{number}") for number in numbers)) for replica in replicas)
        )
        for (first, created), (second, created_there) in zip(one, other, strict=True):
            assert first == second
            assert created is not created_there
    assert len(await stored(streams)) == 120


async def test_who_gives_up_takes_nobody_along(streams: NATS, pool: Pool, database_url: str, tmp_path: Path) -> None:
    replica = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    for start in range(0, 300, 30):
        tasks = [asyncio.create_task(replica.send(f"id{number}")) for number in range(start, start + 30)]
        # As far as they get in so many turns of the loop: in line, decided, or on the way to the stream.
        for _ in range(start // 10):
            await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, tuple) for index, answer in enumerate(done) if index % 3)
        # Whatever became of those, each can be asked for again and is there once.
        again = await asyncio.gather(*(replica.send(f"id{number}") for number in range(start, start + 30)))
        for answer, repeated in zip(done, again, strict=True):
            if isinstance(answer, tuple):
                assert repeated == (answer[0], False)
    messages = await stored(streams)
    assert len({message.client_message_id for message in messages}) == len(messages) == 300


async def test_a_mistake_about_one_message_is_no_matter_to_the_others(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(state: Conversation, command: SendMessage, used: Sent | None) -> Sequence[Event]:
        if command.client_message_id in ("id3", "id7"):
            raise NotFriends
        return decide_send(state, command, used)

    monkeypatch.setattr("services.messaging.commands.decide_send", mistaken)
    replica = Replica(streams, pool, await caught_up(streams, pool, database_url), tmp_path)
    answers = await asyncio.gather(*(replica.send(f"id{number}") for number in range(10)), return_exceptions=True)
    assert [isinstance(answer, NotFriends) for answer in answers] == [number in (3, 7) for number in range(10)]
    assert len(await stored(streams)) == 8


async def test_with_lost_answers_each_message_is_stored_once_and_each_sender_gets_the_right_answer(
    streams: NATS, pool: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas, few conversations, acknowledgements that are lost, callers that give up, everything asked twice."""
    chance, take, patience = random.Random(7), Answer.take, 60
    monkeypatch.setattr("streams.appending.appender._ATTEMPT", 0.5)

    def lose_some(answer: Answer, message: Delivered) -> None:
        is_acknowledgement = b'"seq"' in message.data and b'"message"' not in message.data
        if not is_acknowledgement or chance.random() > 0.1:
            take(answer, message)

    monkeypatch.setattr(Answer, "take", lose_some)
    runners, history = await caught_up(streams, pool, database_url), History()
    replicas = [
        Replica(streams, pool, runners, tmp_path, log=RecordingLog(streams, history, patience=5)) for _ in range(2)
    ]
    friends = [BEN, *(new_id() for _ in range(11))]
    answers: list[tuple[str, str, str, bool]] = []

    async def send_until_acknowledged(friend: str, client_message_id: str) -> None:
        while True:
            sending = asyncio.create_task(chance.choice(replicas).send(client_message_id, to=friend))
            if chance.random() < 0.2:
                for _ in range(chance.randrange(30)):
                    await asyncio.sleep(0)
                sending.cancel()
            async with asyncio.timeout(patience):
                await asyncio.wait([sending])
            if sending.cancelled() or isinstance(sending.exception(), Unavailable | DeadlineExceeded):
                continue
            answers.append((friend, client_message_id, *sending.result()))
            return

    asked = [(chance.choice(friends), f"id{number}") for number in range(300)] * 2
    await asyncio.gather(*(send_until_acknowledged(*arguments) for arguments in asked))
    messages = await all_of(streams, MESSAGING)
    assert history.violations(messages) == []
    opened = [message.open().data for message in messages]
    stored_as = {(e.recipient_id, e.client_message_id): e.message_id for e in opened if isinstance(e, MessageSent)}
    assert set(stored_as) == set(asked)
    assert len(messages) == len(stored_as)
    assert all(stored_as[friend, named] == message_id for friend, named, message_id, _ in answers)
    # Of all answers about a message, exactly one says that it was created.
    assert set(Counter(message_id for *_, message_id, created in answers if created).values()) == {1}
    assert any(len(attempt.events) > 1 for attempt in history.attempts)
