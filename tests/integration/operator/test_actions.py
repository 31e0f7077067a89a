"""Acts and looks of operators in the stream OPERATOR: recorded before they happen, and an act's end after it."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client

from contracts.envelope import now
from contracts.errors import DeadlineExceeded, Overloaded, Unavailable, VestnikError
from contracts.events.event import Event
from contracts.events.operator import OperatorActed, OperatorActionEnded, OperatorLooked
from contracts.subjects import operator_action
from infra.operator_errors import OperatorError
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import SAME_LOOK, Recorder
from streams.log import Log
from tests.integration.operator.recorded_actions import recorded

ANNA = Actor(name="anna", user_id="01890a5d-ac96-774b-bcce-b302099a8057", channel="page", address="192.0.2.7")
AT_THE_MACHINE = Actor(name="root", user_id=None, channel="command_line", address="host-1")


async def test_an_act_is_stored_before_it_is_done_and_its_end_after(streams: Client) -> None:
    log = Log(streams)
    async with Recorder(log).acting(ANNA, "sessions.revoke", target="u", reason="stolen") as act:
        (before,) = await recorded(log)
        assert isinstance(before, OperatorActed)
        assert (before.action, before.target, before.reason) == ("sessions.revoke", "u", "stolen")
    _, end = await log.read(operator_action(act.id))
    assert (end.open().data, end.envelope().version) == (OperatorActionEnded(outcome="done"), 2)
    assert end.envelope().actor == ANNA.user_id


async def test_an_act_does_not_end_before_it_began_though_the_clock_goes_back(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(streams)
    async with Recorder(log).acting(ANNA, "sessions.revoke") as act:
        monkeypatch.setattr("services.operator.actions.recorder.now", lambda: now() - timedelta(minutes=5))
    begin, end = await log.read(operator_action(act.id))
    assert begin.envelope().at == end.envelope().at


async def test_an_act_that_cannot_be_recorded_is_not_done(streams: Client) -> None:
    await streams.close()
    done = False
    with pytest.raises(VestnikError):
        async with Recorder(Log(streams, patience=0.2)).acting(ANNA, "sessions.revoke"):
            done = True
    assert not done


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        (OperatorError("the build is locked\nand more"), "the build is locked"),
        (Overloaded(), Overloaded().detail),
        (KeyError("a secret"), "KeyError"),
    ],
)
async def test_a_failure_is_stored_and_an_unexpected_one_only_by_its_type(
    streams: Client, error: Exception, stored: str
) -> None:
    log = Log(streams)
    with pytest.raises(type(error)):
        async with Recorder(log).acting(ANNA, "read_model.rebuild", target="friends"):
            raise error
    _, end = await recorded(log)
    assert end == OperatorActionEnded(outcome="failed", error=stored)


@pytest.mark.parametrize("error", [DeadlineExceeded(), Unavailable()])
async def test_an_act_of_which_nobody_knows_whether_it_took_effect_gets_no_end(
    streams: Client, error: Exception
) -> None:
    log = Log(streams)
    with pytest.raises(type(error)):
        async with Recorder(log).acting(ANNA, "sessions.revoke"):
            raise error
    (acted,) = await recorded(log)
    assert isinstance(acted, OperatorActed)


@pytest.mark.parametrize("error", [DeadlineExceeded(), OperatorError("those behind it are locked")])
async def test_what_fails_after_an_act_is_final_does_not_undo_it(streams: Client, error: Exception) -> None:
    log = Log(streams)

    async def act_and_fail() -> None:
        async with Recorder(log).acting(ANNA, "dead_letter.discard") as act:
            act.is_final = True
            raise error

    with pytest.raises(type(error)):
        await act_and_fail()
    _, end = await recorded(log)
    assert end == OperatorActionEnded(outcome="done")


@pytest.mark.parametrize(("actor", "ends"), [(AT_THE_MACHINE, [OperatorActionEnded(outcome="cancelled")]), (ANNA, [])])
async def test_an_act_that_the_operator_cancels_ends_so_and_one_whose_page_went_away_has_no_end(
    streams: Client, actor: Actor, ends: list[Event]
) -> None:
    log, begun = Log(streams), asyncio.Event()

    async def act() -> None:
        async with Recorder(log).acting(actor, "read_model.rebuild", target="friends"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(act())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _, *recorded_ends = await recorded(log)
    assert recorded_ends == ends


async def test_an_act_whose_end_cannot_be_stored_was_done_nevertheless(streams: Client) -> None:
    log = Log(streams, patience=0.2)
    async with Recorder(log).acting(ANNA, "sessions.revoke") as act:
        await streams.close()
    assert act.outcome == "done"


async def test_the_same_look_is_stored_once_in_ten_minutes(streams: Client) -> None:
    log, now = Log(streams), [0.0]
    recorder = Recorder(log, clock=lambda: now[0])
    other = Actor(name="boris", user_id=None, channel="command_line", address="host-1")
    elsewhere = Actor(name="anna", user_id=ANNA.user_id, channel="page", address="198.51.100.1")
    for _ in range(3):
        await recorder.look(ANNA, "sessions", filter_={"user": "carol", "since": ""})
    assert len(await recorded(log)) == 1
    await recorder.look(ANNA, "sessions", filter_={"user": "dora"})
    await recorder.look(ANNA, "person", filter_={"user": "carol"})
    await recorder.look(other, "sessions", filter_={"user": "carol"})
    # A stolen session: the same account from another address.
    await recorder.look(elsewhere, "sessions", filter_={"user": "carol"})
    assert len(await recorded(log)) == 5
    now[0] = SAME_LOOK + 1
    await recorder.look(ANNA, "sessions", filter_={"user": "carol"})
    *_, last = await recorded(log)
    assert isinstance(last, OperatorLooked)
    assert (last.what, last.filter, last.operator) == ("sessions", {"user": "carol"}, "anna")
    assert len(await recorded(log)) == 6


async def test_a_period_that_moves_on_is_the_same_look_and_an_earlier_beginning_is_not(streams: Client) -> None:
    log = Log(streams)
    recorder = Recorder(log)
    for since, count in (
        ("2026-01-31T12:00:00.000Z", 1),
        ("2026-01-31T12:00:04.000Z", 1),
        ("2026-01-31T11:00:00.000Z", 2),
        ("", 3),
        ("2026-01-31T12:00:08.000Z", 3),
    ):
        await recorder.look(ANNA, "events", filter_={"since": since})
        assert len(await recorded(log)) == count
    await recorder.look(ANNA, "events", filter_={"until": "2026-01-31T12:00:00.000Z"})
    assert len(await recorded(log)) == 4


async def test_of_the_same_looks_at_the_same_time_one_is_stored(streams: Client) -> None:
    log = Log(streams)
    recorder = Recorder(log)
    await asyncio.gather(*(recorder.look(ANNA, "events", target="a") for _ in range(10)))
    assert len(await recorded(log)) == 1


async def test_a_look_that_failed_to_be_stored_is_stored_by_the_next_attempt(streams: Client) -> None:
    class Refusing(Log):
        refuses = True

        async def append(self, *args: object, **kwargs: object) -> int:
            if self.refuses:
                raise Unavailable
            return await super().append(*args, **kwargs)  # type: ignore[arg-type]  # passed through

    log = Refusing(streams)
    recorder = Recorder(log)
    with pytest.raises(Unavailable):
        await recorder.look(ANNA, "events")
    log.refuses = False
    await recorder.look(ANNA, "events")
    assert len(await recorded(log)) == 1
