"""The result of a run is that of all parts of its history."""

from pathlib import Path

from tests.faults import result
from tests.faults.history import Fault
from tests.faults.recording import Recorder
from tests.faults.recovery import Tally
from tests.faults.result import Conditions
from tests.unit.faults.made_up import conversation, delivered, read, send, stored

CONDITIONS = Conditions(seed=1, conversations=2, rate=40.0)


def test_the_parts_of_a_run_are_checked_and_counted_together(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.add(Fault(name="kill", targets=["nats-1"], begun=1.0, ended=4.0, step=1))
        recorder.add(Fault(name="cut", targets=["nats-2"], begun=60.0, ended=90.0, step=2))
        sound, other = recorder.part("conversation-1"), recorder.part("conversation-2")
        for record in (send(1, 2.0), read(1, 3.0), delivered(stored(1), 2.1), *conversation(stored(1))):
            sound.add(record)  # type: ignore[arg-type]  # each is of a kind that can be recorded
        for record in (send(1, 2.5), send(2, 70.0), *conversation(stored(1))):
            other.add(record)  # type: ignore[arg-type]
    run = result.judged(tmp_path, CONDITIONS, None)
    # The same id in two parts is two messages.
    assert run.acknowledged == 3
    assert run.requests == {"read": 1, "send": 3}
    assert run.live_events == 1
    assert run.seconds == 89.0
    assert [(step.faults, step.acknowledged) for step in run.steps] == [(("kill",), 2), (("cut",), 1)]
    assert [step.found for step in run.steps] == [Tally(), Tally(lost=2)]
    assert run.found == Tally(lost=2)
    assert {finding.partition(":")[0] for finding in run.findings} == {"messages.lost"}


def test_that_nobody_has_read_the_conversations_of_a_run_is_no_finding_if_it_was_not_ended(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.add(send(1, 2.0))
    assert result.judged(tmp_path, CONDITIONS, None).found == Tally(lost=1)
    assert result.judged(tmp_path, CONDITIONS, None, "not whole").found == Tally()


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = result.judged(tmp_path, CONDITIONS, None, "not whole")
    assert result.load([result.write(run, tmp_path)]) == [run]
