"""What counts as evidence of a quorum, and from when to when."""

from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.errors import NoQuorum
from streams.jetstream.raw_message import Delivered
from streams.quorum import AGE_SECONDS, HOLD_SECONDS, Quorum

STORED = b'{"stream":"QUORUM","seq":1}'
REFUSED = b'{"error":{"code":503,"err_code":10008,"description":"no leader"}}'


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("streams.quorum.time", self)

    def monotonic(self) -> float:
        return self.now


class Connection:
    """Records what is published."""

    def __init__(self) -> None:
        self.is_connected = True
        self.stats = {"reconnects": 0}
        self.replies: list[str] = []
        self.changes = 0

    async def force_reconnect(self) -> None:
        self.changes += 1
        self.stats["reconnects"] += 1

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        self.replies.append(reply)


class Evidence:
    """A quorum on a clock of its own, whose appends a test acknowledges."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connection = Connection()
        self.quorum = Quorum(cast(Any, self.connection), "vestnik.quorum.test.1")
        self.lost = 0
        self.quorum.when_lost(self._count)

    def _count(self) -> None:
        self.lost += 1

    async def append(self) -> str:
        await self.quorum._append("inbox")
        return self.connection.replies[-1]

    def answer(self, reply: str, data: bytes = STORED, headers: dict[str, str] | None = None) -> None:
        self.quorum._take(Delivered(reply, "", data, headers))

    async def silent_rounds(self, changes: int) -> int:
        """Rounds without an acknowledgement until the server was changed that many more times."""
        goal, rounds = self.connection.changes + changes, 0
        while self.connection.changes < goal:
            await self.append()
            self.clock.now += 1.0
            await self.quorum._change_server()
            rounds += 1
        return rounds

    async def seconds(self, count: int) -> None:
        """One append per second, each acknowledged immediately."""
        for _ in range(count):
            self.answer(await self.append())
            self.clock.now += 1.0


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Evidence:
    return Evidence(Clock(monkeypatch))


def test_the_guarantees_state_for_how_long_evidence_counts() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/guarantees.md").read_text()
    assert f"{AGE_SECONDS:.0f} seconds old" in page
    assert f"once it has held for {HOLD_SECONDS:.0f} seconds" in page


async def test_it_counts_once_it_has_lasted_for_five_seconds(evidence: Evidence) -> None:
    await evidence.seconds(5)
    assert not evidence.quorum.holds
    assert not evidence.quorum.was_held
    await evidence.seconds(1)
    assert evidence.quorum.holds
    assert evidence.quorum.was_held


async def test_its_age_counts_from_the_sending_of_the_append(evidence: Evidence) -> None:
    await evidence.seconds(6)
    late = await evidence.append()
    sent_at = evidence.clock.now
    evidence.clock.now += 1.9
    evidence.answer(late)
    evidence.clock.now = sent_at + 3.0
    assert evidence.quorum.holds
    evidence.clock.now = sent_at + 3.1
    assert not evidence.quorum.holds
    assert evidence.quorum.was_held


async def test_after_a_gap_it_has_to_last_again_and_what_was_read_is_dropped_before(evidence: Evidence) -> None:
    await evidence.seconds(6)
    lost = evidence.lost
    evidence.clock.now += 3.0
    await evidence.seconds(1)
    assert evidence.lost == lost + 1
    assert not evidence.quorum.holds
    await evidence.seconds(4)
    assert not evidence.quorum.holds
    await evidence.seconds(1)
    assert evidence.quorum.holds
    assert evidence.lost == lost + 1


async def test_evidence_of_another_connection_is_none(evidence: Evidence) -> None:
    await evidence.seconds(6)
    reply, lost = await evidence.append(), evidence.lost
    evidence.connection.stats["reconnects"] += 1
    assert not evidence.quorum.holds
    evidence.answer(reply)
    assert not evidence.quorum.holds
    await evidence.seconds(5)
    assert not evidence.quorum.holds
    assert evidence.lost == lost + 1
    await evidence.seconds(1)
    assert evidence.quorum.holds


async def test_an_answer_that_comes_too_late_is_a_gap_and_no_evidence(evidence: Evidence) -> None:
    await evidence.seconds(6)
    reply = await evidence.append()
    evidence.clock.now += 3.1
    evidence.answer(reply)
    assert not evidence.quorum.holds
    assert not evidence.quorum.seen_within(3.0)


@pytest.mark.parametrize(
    ("data", "headers"), [(REFUSED, None), (b"", {"Status": "503"}), (b"", None), (b"not JSON", None)]
)
async def test_only_a_stored_append_is_evidence(
    evidence: Evidence, data: bytes, headers: dict[str, str] | None
) -> None:
    for _ in range(8):
        evidence.answer(await evidence.append(), data, headers)
        evidence.clock.now += 1.0
    assert not evidence.quorum.holds
    assert not evidence.quorum.seen_within(60.0)


async def test_a_lost_append_between_two_that_were_stored_is_no_gap(evidence: Evidence) -> None:
    await evidence.seconds(6)
    lost = evidence.lost
    await evidence.append()
    evidence.clock.now += 1.0
    assert evidence.quorum.holds
    await evidence.seconds(1)
    assert evidence.quorum.holds
    assert evidence.lost == lost


async def test_a_read_counts_only_where_it_holds_before_and_after(evidence: Evidence) -> None:
    await evidence.seconds(6)
    with evidence.quorum:
        pass
    with pytest.raises(NoQuorum) as after, evidence.quorum:
        evidence.clock.now += 10.0
    with pytest.raises(NoQuorum) as before, evidence.quorum:
        pytest.fail("nothing is read")
    assert after.value.retry_after == before.value.retry_after == 5


async def test_a_read_that_fails_says_why_itself(evidence: Evidence) -> None:
    await evidence.seconds(6)

    def fail() -> None:
        with evidence.quorum:
            evidence.clock.now += 10.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()


async def test_a_refusal_says_when_to_retry(evidence: Evidence) -> None:
    await evidence.seconds(3)
    with pytest.raises(NoQuorum) as refused:
        evidence.quorum.require()
    assert refused.value.retry_after == 2


async def test_nothing_is_sent_without_a_connection(evidence: Evidence) -> None:
    evidence.connection.is_connected = False
    await evidence.quorum._append("inbox")
    assert evidence.connection.replies == []


async def test_a_server_that_reaches_no_group_is_left_and_each_next_one_later(evidence: Evidence) -> None:
    await evidence.seconds(10)
    rounds = [await evidence.silent_rounds(1) for _ in range(7)]
    assert 6 < rounds[0] <= 10
    # Not immediately, whatever the number of servers: while no node has a quorum, none would be better.
    assert all(later > earlier for earlier, later in pairwise(rounds[:4]))
    assert all(60 <= count <= 64 for count in rounds[5:])
    await evidence.seconds(1)
    assert await evidence.silent_rounds(1) <= 10


async def test_processes_do_not_change_the_server_together(monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds = {Evidence(Clock(monkeypatch)).quorum._change_after for _ in range(100)}
    assert len(thresholds) > 50


async def test_a_slow_answer_and_a_process_that_was_suspended_change_no_server(evidence: Evidence) -> None:
    for _ in range(30):
        reply = await evidence.append()
        evidence.clock.now += 2 * AGE_SECONDS
        evidence.answer(reply)
        await evidence.quorum._change_server()
    evidence.clock.now += 1_000.0
    await evidence.quorum._change_server()
    assert evidence.connection.changes == 0


async def test_a_connection_that_is_down_or_new_is_given_as_long_as_any(evidence: Evidence) -> None:
    for _ in range(5):
        await evidence.append()
        await evidence.quorum._change_server()
    evidence.connection.is_connected = False
    for _ in range(30):
        await evidence.quorum._change_server()
    evidence.connection.is_connected = True
    evidence.connection.stats["reconnects"] += 1
    for _ in range(6):
        await evidence.append()
        await evidence.quorum._change_server()
    assert evidence.connection.changes == 0


async def test_a_lasting_refusal_does_not_change_the_server(evidence: Evidence) -> None:
    for _ in range(30):
        evidence.answer(await evidence.append(), b'{"error":{"code":400,"err_code":10077,"description":"too large"}}')
        evidence.clock.now += 1.0
        await evidence.quorum._change_server()
    assert evidence.connection.changes == 0
    assert not evidence.quorum.holds


@pytest.mark.parametrize("data", [b"", b'{"stream":"QUORUM","se', b"{}"], ids=["empty", "truncated", "no sequence"])
async def test_an_answer_that_acknowledges_nothing_is_no_evidence(evidence: Evidence, data: bytes) -> None:
    for _ in range(7):
        evidence.answer(await evidence.append(), data)
        evidence.clock.now += 1.0
    assert not evidence.quorum.holds
