"""Load, decide, append: one winner each, dense versions, and no refusal on a stale state."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, now
from contracts.errors import MessageNotFound, NotFriends, Unavailable
from contracts.events.event import Event
from contracts.subjects import MESSAGING, conversation
from contracts.values.ids import new_id
from streams.log import Conflict, Log
from streams.repository import BrokenHistory
from streams.topology import ensure_streams
from tests.integration.streams.conftest import SHORT_PATIENCE, append_to, counting, sent

BY = Provenance(actor="someone", correlation_id="a request")


def one_more(state: int) -> Sequence[Event]:
    return [sent(state + 1)]


def up_to(limit: int, state: int) -> Sequence[Event]:
    """Decides on one more event while the state is below the limit."""
    return [sent(state + 1)] if state < limit else []


def refuse_from(limit: int, state: int) -> Sequence[Event]:
    if state >= limit:
        raise NotFriends
    return [sent(state + 1)]


async def test_a_decision_is_appended_and_its_outcome_is_what_others_load(log: Log) -> None:
    outcome = await counting(log).execute("a", lambda state: [sent(state + 1), sent(state + 2)], BY)
    assert (outcome.state, outcome.sequence, outcome.version) == (2, 2, 2)
    loaded = await counting(log).load("a")
    assert (loaded.state, loaded.sequence, loaded.version) == (2, 2, 2)
    recorded = [message.open() for message in await log.read(conversation("a"))]
    assert list(outcome.events) == recorded
    assert [event.version for event in recorded] == [1, 2]
    assert recorded[0].actor == "someone"


async def test_times_within_an_aggregate_do_not_go_back_with_the_clock(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = 0
    monkeypatch.setattr("streams.repository.now", lambda: now() - timedelta(minutes=behind))
    repository, tail = counting(log), counting(log, tail_only=True)
    first = (await repository.execute("a", one_more, BY)).events[0].at
    behind = 5
    for other in (repository, counting(log), tail):
        # Cached, loaded, and loaded by its last event.
        await other.execute("a", lambda state: [sent(1), sent(2)], BY)
    assert {message.open().at for message in await log.read(conversation("a"))} == {first}
    behind = 0
    assert (await repository.execute("a", lambda state: [sent(1)], BY)).events[0].at >= first


async def test_an_aggregate_that_is_not_there_is_the_initial_state(log: Log) -> None:
    loaded = await counting(log).load("none")
    assert (loaded.state, loaded.sequence, loaded.version) == (0, 0, 0)


async def test_many_writers_on_few_aggregates_leave_dense_versions(streams: Client) -> None:
    repositories = [counting(Log(streams)) for _ in range(4)]
    names = [f"conversation-{number}" for number in range(3)]

    async def write(writer: int) -> list[tuple[str, int]]:
        repository, won = repositories[writer % 4], []
        for number in range(15):
            name = names[(writer + number) % 3]
            outcome = await repository.execute(name, one_more, BY)
            won.append((name, outcome.version))
        return won

    won = [win for writer in await asyncio.gather(*map(write, range(16))) for win in writer]
    assert len(set(won)) == len(won) == 16 * 15
    log = Log(streams)
    for name in names:
        events = [message.open() for message in await log.read(conversation(name))]
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        assert sum(1 for written, _ in won if written == name) == len(events)


@pytest.mark.parametrize("tail_only", [False, True])
async def test_a_refusal_on_a_stale_state_is_decided_again(log: Log, tail_only: bool) -> None:
    """The cached state leads to a refusal, the stream's to acceptance: another replica has changed it meanwhile."""

    def odd(state: int) -> Sequence[Event]:
        if state % 2 == 1:
            raise NotFriends
        return [sent(state + 1)]

    ours, theirs = counting(log, tail_only=tail_only), counting(log, tail_only=tail_only)
    await ours.execute("a", odd, BY)
    await theirs.execute("a", one_more, BY)
    assert (await ours.execute("a", odd, BY)).version == 3
    with pytest.raises(NotFriends):
        await ours.execute("a", odd, BY)
    with pytest.raises(NotFriends):
        await theirs.execute("a", odd, BY)


async def test_doing_nothing_on_a_stale_state_is_decided_again(log: Log) -> None:
    def until_two_behind(state: int) -> Sequence[Event]:
        return [] if state == 1 else [sent(state + 1)]

    ours, theirs = counting(log), counting(log)
    await ours.execute("a", one_more, BY)
    assert (await ours.execute("a", until_two_behind, BY)).events == ()
    await theirs.execute("a", one_more, BY)
    assert (await ours.execute("a", until_two_behind, BY)).version == 3


async def test_a_refusal_on_a_state_loaded_in_the_same_call_stands(log: Log) -> None:
    with pytest.raises(NotFriends):
        await counting(log).execute("a", lambda state: refuse_from(0, state), BY)


async def test_two_replicas_race_to_a_limit_and_do_not_pass_it(log: Log) -> None:
    ours, theirs = counting(log), counting(log)
    outcomes = await asyncio.gather(
        *(repository.execute("a", lambda state: up_to(10, state), BY) for repository in (ours, theirs) * 20)
    )
    assert sum(len(outcome.events) for outcome in outcomes) == 10
    assert {outcome.version for outcome in outcomes if not outcome.events} == {10}


async def test_a_command_on_a_cached_aggregate_costs_one_message(streams: Client, log: Log) -> None:
    repository = counting(log)
    await repository.execute("a", one_more, BY)
    before = streams.stats["out_msgs"]
    await repository.execute("a", one_more, BY)
    assert streams.stats["out_msgs"] == before + 1


async def test_a_mistake_in_a_decision_is_no_refusal(log: Log) -> None:
    def broken(state: int) -> Sequence[Event]:
        raise ZeroDivisionError

    repository = counting(log)
    with pytest.raises(ZeroDivisionError):
        await repository.execute("a", broken, BY)
    assert (await repository.execute("a", one_more, BY)).version == 1


async def test_a_tail_only_aggregate_reads_its_last_event_alone(streams: Client, log: Log) -> None:
    await log.append_together([append_to("a", version=version) for version in range(1, 501)])
    before = streams.stats["in_bytes"]
    loaded = await counting(log, tail_only=True).load("a")
    assert (loaded.state, loaded.sequence, loaded.version) == (500, 500, 500)
    assert streams.stats["in_bytes"] - before < 5_000


async def test_what_is_in_memory_is_bounded_and_comes_back_from_the_stream(log: Log) -> None:
    repository = counting(log, capacity=3)
    for name in "abcde":
        await repository.execute(name, one_more, BY)
    assert [name for name in "abcde" if repository.cached(name)] == ["c", "d", "e"]
    assert (await repository.execute("a", one_more, BY)).version == 2
    repository.forget("a")
    assert repository.cached("a") is None
    assert (await repository.load("a")).version == 2


async def test_a_locked_aggregate_waits_for_what_is_looked_up_in_between(log: Log) -> None:
    repository = counting(log)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slowly() -> int:
        async with repository.lock("a") as editing:
            entered.set()
            await leave.wait()
            return (await editing.append([sent(editing.state + 1)], BY)).version

    slow = asyncio.create_task(slowly())
    await entered.wait()
    quick = asyncio.create_task(repository.execute("a", one_more, BY))
    assert (await repository.execute("b", one_more, BY)).version == 1
    leave.set()
    assert (await slow, (await quick).version) == (1, 2)


async def test_editing_meets_a_conflict_and_goes_on_from_the_new_state(log: Log) -> None:
    ours, theirs = counting(log), counting(log)
    await ours.execute("a", one_more, BY)
    async with ours.lock("a") as editing:
        assert not editing.confirmed
        await theirs.execute("a", one_more, BY)
        with pytest.raises(Conflict):
            await editing.append([sent(editing.state + 1)], BY)
        assert await editing.refresh()
        assert (editing.state, editing.version, editing.confirmed) == (2, 2, True)
        assert (await editing.append([sent(3)], BY)).version == 3
        assert (editing.state, editing.sequence) == (3, 3)


@pytest.mark.parametrize("tail_only", [True, False])
async def test_what_is_staged_is_decided_on_and_stored_as_one(streams: Client, log: Log, tail_only: bool) -> None:
    repository = counting(log, tail_only=tail_only)
    async with repository.lock("a") as editing:
        for number in range(1, 6):
            editing.stage([sent(editing.state + 1)], BY)
            assert (editing.state, editing.version, editing.sequence) == (number, number, 0)
        assert await log.end_of(MESSAGING) == 0
        recorded = await editing.store()
        assert [event.sequence for event in recorded] == [1, 2, 3, 4, 5]
        assert (editing.state, editing.version, editing.sequence) == (5, 5, 5)
    assert [message.open() for message in await log.read(conversation("a"))] == list(recorded)
    loaded = repository.cached("a")
    assert loaded == await counting(log).load("a")


async def test_of_what_is_staged_nothing_is_left_behind_a_conflict(log: Log) -> None:
    other = counting(log)
    async with counting(log).lock("a") as editing:
        await other.execute("a", one_more, BY)
        for _ in range(3):
            editing.stage([sent(editing.state + 1)], BY)
        with pytest.raises(Conflict):
            await editing.store()
        assert (editing.state, editing.sequence) == (0, 0)
        await editing.refresh()
        assert (editing.state, editing.sequence) == (1, 1)
        editing.stage([sent(editing.state + 1)], BY)
        await editing.refresh()
        assert (editing.state, editing.sequence) == (1, 1)
        assert (await editing.append([sent(2)], BY)).version == 2
    assert await log.end_of(MESSAGING) == 2


async def test_a_batch_over_several_aggregates_is_made_of_their_appends(log: Log) -> None:
    repository = counting(log)
    loaded = {name: await repository.load(name) for name in ("a", "b")}
    batch = [
        append
        for name, aggregate in loaded.items()
        for append in repository.appends(name, aggregate, [sent(1), sent(2)], BY)
    ]
    assert await log.append_together(batch) == [1, 2, 3, 4]
    with pytest.raises(Conflict):
        await log.append_together(repository.appends("b", loaded["b"], [sent(1)], BY))
    assert (await repository.load("b")).version == 2


async def test_a_caller_that_gives_up_leaves_no_lock_behind(log: Log) -> None:
    repository = counting(log)
    for _ in range(20):
        call = asyncio.create_task(repository.execute("a", one_more, BY))
        waiting = asyncio.create_task(repository.execute("a", one_more, BY))
        await asyncio.sleep(0)
        call.cancel()
        waiting.cancel()
        await asyncio.gather(call, waiting, return_exceptions=True)
    outcome = await repository.execute("a", one_more, BY)
    assert outcome.version == await log.end_of(MESSAGING)
    assert len(repository._locks) == 0


async def test_loads_and_commands_at_once_never_set_the_memory_back(log: Log) -> None:
    repository, name = counting(log), new_id()

    async def check() -> None:
        for _ in range(50):
            known = repository.cached(name)
            loaded = await repository.load(name)
            assert known is None or loaded.sequence >= known.sequence

    async def write() -> None:
        for _ in range(50):
            await repository.execute(name, one_more, BY)

    await asyncio.gather(check(), check(), write())
    known = repository.cached(name)
    assert known is not None
    assert known.version == 50


async def test_a_refusal_of_the_house_keeps_its_class(log: Log) -> None:
    def missing(state: int) -> Sequence[Event]:
        raise MessageNotFound

    with pytest.raises(MessageNotFound):
        await counting(log).execute("a", missing, BY)


async def lose_everything(nats: Client) -> None:
    await nats.jetstream().delete_stream(MESSAGING)
    await ensure_streams(nats, replicas=1)


@pytest.mark.parametrize("tail_only", [False, True])
async def test_a_stream_that_lost_what_is_in_memory_is_noticed_once(streams: Client, log: Log, tail_only: bool) -> None:
    repository = counting(log, tail_only=tail_only)
    await repository.execute("a", lambda state: [sent(state + 1), sent(state + 2)], BY)
    await lose_everything(streams)
    with pytest.raises(BrokenHistory, match="ends at 0, but was read up to 2: events are gone"):
        await repository.load("a")
    assert (await repository.load("a")).version == 0
    assert (await repository.execute("a", one_more, BY)).version == 1


async def test_an_append_on_what_the_stream_lost_fails_once(
    streams: Client, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = counting(log)
    await repository.execute("a", lambda state: [sent(state + 1), sent(state + 2)], BY)
    await lose_everything(streams)
    with monkeypatch.context() as impatient:
        impatient.setattr(log._appender, "_patience", SHORT_PATIENCE)
        with pytest.raises(Unavailable):
            await repository.execute("a", one_more, BY)
    assert (await repository.execute("a", one_more, BY)).version == 1


async def test_the_commands_of_a_moment_share_the_syncs_to_disk(streams: Client) -> None:
    repository = counting(Log(streams))
    outcomes = await asyncio.gather(*(repository.execute(f"busy-{number}", one_more, BY) for number in range(64)))
    assert sorted(outcome.sequence for outcome in outcomes) == list(range(1, 65))
    js = streams.jetstream()
    headers = [(await js.get_msg(MESSAGING, sequence)).headers or {} for sequence in range(1, 65)]
    assert sum("Nats-Batch-Id" in message_headers for message_headers in headers) > 32
