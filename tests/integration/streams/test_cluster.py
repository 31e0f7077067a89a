"""Three nodes: leaders killed and deposed in full flight, and everything that one node answers differently.

One cluster for all of these tests: each works on aggregates of its own and leaves every node running.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
import pytest_asyncio
from nats.aio.client import Client

from contracts.envelope import Provenance, encode
from contracts.errors import DeadlineExceeded, NotFriends, Overloaded, Unavailable
from contracts.events.event import Event
from contracts.subjects import MESSAGING, conversation
from contracts.values.ids import new_id
from streams.jetstream.api import Refused
from streams.jetstream.publish_ack import Ack, decode
from streams.log import Append, Conflict, Log
from streams.topology import Placement, ensure_stream, ensure_streams, event_stream, settings_of
from tests.fix_cluster import NAME, SIZE, Cluster
from tests.history_checker import History, RecordingLog, all_of
from tests.integration.streams.conftest import append_to, counting, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")
BY = Provenance()
# Longer than the nodes need for a new leader after a kill.
PATIENCE = 25.0
WITHIN = 120.0


@pytest_asyncio.fixture(loop_scope="module")
async def clients(cluster: Cluster) -> AsyncIterator[list[Client]]:
    """Two services' connections."""
    await cluster.whole(MESSAGING)
    clients: list[Client] = [await cluster.connect() for _ in range(2)]
    yield clients
    for client in clients:
        await client.close()


@pytest.fixture
def log(clients: list[Client]) -> Log:
    return Log(clients[0], patience=PATIENCE)


def one_more(state: int) -> Sequence[Event]:
    return [sent(state + 1)]


class Load:
    """Commands of two replicas on the same few aggregates, and batches over new ones, until stopped."""

    def __init__(self, clients: list[Client]) -> None:
        self.history = History()
        self._logs = [RecordingLog(client, self.history, patience=PATIENCE) for client in clients]
        self._repositories = [counting(log) for log in self._logs]
        self._names = [new_id() for _ in range(4)]
        self._stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[History]:
        writing = [asyncio.create_task(self._command(number)) for number in range(12)]
        writing += [asyncio.create_task(self._batches(log)) for log in self._logs]
        try:
            async with asyncio.timeout(WITHIN):
                await self.history.grows_by(100)
                yield self.history
                await self.history.grows_by(100)
        finally:
            self._stopping = True
            await asyncio.gather(*writing)

    async def _command(self, writer: int) -> None:
        while not self._stopping:
            try:
                await self._repositories[writer % 2].execute(self._names[writer % 4], one_more, BY)
            except (Unavailable, DeadlineExceeded, Overloaded):
                continue  # as clients do: the error is in the history, and the next command may succeed

    async def _batches(self, log: Log) -> None:
        while not self._stopping:
            batch = [append_to(new_id()) for _ in range(3)]
            try:
                await log.append_together([*batch, _second(batch[0])])
            except (Unavailable, DeadlineExceeded, Overloaded):
                continue  # as clients do: the error is in the history, and the next command may succeed


def _second(first: Append) -> Append:
    return append_to(first.envelope.aggregate_id, version=2)


async def check(cluster: Cluster, load: Load) -> None:
    await cluster.whole(MESSAGING)
    assert load.history.violations(await all_of(cluster.client, MESSAGING)) == []


async def test_a_leader_killed_in_full_flight_loses_and_doubles_nothing(
    cluster: Cluster, clients: list[Client]
) -> None:
    load = Load(clients)
    leader = await cluster.leader(MESSAGING)
    async with load.running() as history:
        await cluster.kill(leader)
        # Reading waits for the next leader, too.
        assert await Log(clients[1], patience=PATIENCE).read(conversation(new_id())) == []
        await history.grows_by(100)
        await cluster.restart(leader)
    await check(cluster, load)


async def test_a_leader_that_steps_down_loses_and_doubles_nothing(cluster: Cluster, clients: list[Client]) -> None:
    load = Load(clients)
    async with load.running() as history:
        for _ in range(3):
            await cluster.step_down(MESSAGING)
            await history.grows_by(50)
    await check(cluster, load)


async def test_a_follower_killed_and_back_loses_and_doubles_nothing(cluster: Cluster, clients: list[Client]) -> None:
    load = Load(clients)
    follower = (await cluster.followers(MESSAGING))[0]
    async with load.running() as history:
        await cluster.kill(follower)
        await history.grows_by(100)
        await cluster.restart(follower)
    await check(cluster, load)


async def test_all_nodes_killed_at_once_lose_and_double_nothing(cluster: Cluster, clients: list[Client]) -> None:
    load = Load(clients)
    async with load.running():
        await cluster.kill(*cluster.nodes)
        await cluster.restart(*cluster.nodes)
    await check(cluster, load)


async def raw(client: Client, append: Append) -> Ack:
    """The server's own answer to one append, as the log would send it."""
    headers = {
        "Nats-Msg-Id": append.envelope.id,
        "Nats-Expected-Last-Subject-Sequence": str(append.expected),
    }
    return decode((await client.request(append.subject, encode(append.envelope), timeout=60, headers=headers)).data)


async def test_a_repeated_append_is_the_same_to_us_whatever_the_server_answers(clients: list[Client]) -> None:
    """Three replicas answer that it is a duplicate, a single one that the condition failed."""
    await ensure_stream(clients[0], event_stream("ALONE", "alone.>", "A stream on one node", replicas=1))
    three = append_to(new_id())
    alone = msgspec.structs.replace(three, subject=f"alone.{three.envelope.aggregate_id}")
    single = Log(clients[0], stream_of=lambda subject: "ALONE")
    for log, append in ((Log(clients[0]), three), (single, alone)):
        sequence = await log.append(append)
        answer = await raw(clients[0], append)
        if append is three:
            assert answer.duplicate
        else:
            assert answer.error is not None
            assert answer.error.err_code == 10071
        assert await log.append(append) == sequence
        assert await log.append_together([append]) == [sequence]


async def test_both_words_for_a_condition_that_does_not_hold_are_a_conflict(clients: list[Client], log: Log) -> None:
    """Under contention a leader refuses what another append, not yet agreed on, would make stale: 10164."""
    codes: set[int] = set()
    async with asyncio.timeout(WITHIN):
        while codes != {10071, 10164}:
            name = new_id()
            answers = await asyncio.gather(*(raw(clients[number % 2], append_to(name)) for number in range(40)))
            assert sum(answer.error is None for answer in answers) == 1
            codes |= {answer.error.err_code for answer in answers if answer.error is not None}
            with pytest.raises(Conflict):
                await log.append(append_to(name))


async def test_of_many_writers_on_few_aggregates_exactly_one_wins_each_version(clients: list[Client]) -> None:
    logs = [Log(client, patience=PATIENCE) for client in clients]
    names = [new_id() for _ in range(3)]
    expected = dict.fromkeys(names, 0)
    for version in range(1, 11):
        for name in names:
            results = await asyncio.gather(
                *(
                    logs[number % 2].append(append_to(name, expected=expected[name], version=version))
                    for number in range(12)
                ),
                return_exceptions=True,
            )
            won = [result for result in results if isinstance(result, int)]
            assert len(won) == 1
            assert sum(isinstance(result, Conflict) for result in results) == 11
            expected[name] = won[0]
    for name in names:
        events = await logs[0].read(conversation(name))
        assert [event.envelope().version for event in events] == list(range(1, 11))


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_a_batch_with_one_stale_condition_stores_nothing(clients: list[Client], log: Log, index: int) -> None:
    taken = append_to(new_id())
    await log.append(taken)
    names = [new_id(), new_id()]
    batch = [append_to(name) for name in names]
    batch.insert(index, append_to(taken.envelope.aggregate_id))
    end = await log.end_of(MESSAGING)
    with pytest.raises(Conflict) as conflict:
        await log.append_together(batch)
    assert conflict.value.subject == taken.subject
    assert await log.end_of(MESSAGING) == end
    assert [await log.read(conversation(name)) for name in names] == [[], []]


async def test_stale_replicas_that_append_nothing_decide_on_what_was_acknowledged(clients: list[Client]) -> None:
    """In turn, one replica changes the aggregate, and the other, with a stale cache, only accepts or refuses."""

    def refuse_odd(state: int) -> Sequence[Event]:
        if state % 2 == 1:
            raise NotFriends
        return []

    replicas = [counting(Log(client)) for client in clients]
    name = new_id()
    for turn in range(1, 31):
        writes, decides = replicas[turn % 2], replicas[(turn + 1) % 2]
        assert (await writes.execute(name, one_more, BY)).state == turn
        if turn % 2 == 1:
            with pytest.raises(NotFriends):
                await decides.execute(name, refuse_odd, BY)
        else:
            outcome = await decides.execute(name, refuse_odd, BY)
            assert (outcome.version, outcome.events) == (turn, ())


async def test_two_replicas_race_to_a_limit_and_do_not_pass_it(clients: list[Client]) -> None:
    def up_to_ten(state: int) -> Sequence[Event]:
        return [sent(state + 1)] if state < 10 else []

    replicas = [counting(Log(client)) for client in clients]
    name = new_id()
    outcomes = await asyncio.gather(*(replica.execute(name, up_to_ten, BY) for replica in replicas * 20))
    assert sum(len(outcome.events) for outcome in outcomes) == 10
    assert {outcome.version for outcome in outcomes if not outcome.events} == {10}


async def test_a_stream_is_placed_where_the_settings_say(clients: list[Client]) -> None:
    here = event_stream("HERE", "here.>", "Placed", replicas=SIZE) | {"placement": Placement(cluster=NAME).settings()}
    await ensure_stream(clients[0], here)
    await ensure_stream(clients[0], here)
    elsewhere = event_stream("ELSEWHERE", "elsewhere.>", "Nowhere", replicas=SIZE)
    with pytest.raises(Refused, match="no suitable peers"):
        await ensure_stream(clients[0], elsewhere | {"placement": Placement(tags=("ssd",)).settings()}, patience=2)


async def test_making_the_streams_again_changes_nothing(clients: list[Client], log: Log) -> None:
    end = await log.end_of(MESSAGING)
    await ensure_streams(clients[0], replicas=SIZE)
    assert await log.end_of(MESSAGING) == end
    assert settings_of(MESSAGING, replicas=SIZE)["num_replicas"] == SIZE
