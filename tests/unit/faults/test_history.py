from pathlib import Path

import pytest

from tests.faults.history import (
    Fault,
    FinalConversation,
    History,
    LiveEvent,
    Message,
    Outcome,
    Recorder,
    Request,
    outcome_of,
    read,
)


def sent(message_id: str, outcome: Outcome = Outcome.OK) -> Request:
    answer = {"message_id": message_id, "sequence": 1} if outcome is Outcome.OK else {}
    return Request(client="a", operation="send", started=1.0, ended=2.0, outcome=outcome, answer=answer)


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    request = sent("m1")
    event = LiveEvent(
        client="a", user_id="u", connection=2, resumed_from="p", id="q", type="message.sent", data={"n": 1}, received=3
    )
    fault = Fault(name="kill", targets=["nats-1"], begun=1.0, ended=2.5, step=4)
    final = FinalConversation(reader="u", other="v", messages=[Message("m1", 1, "u", "hello")])
    with Recorder(tmp_path) as recorder:
        for record in (request, event, fault, final):
            recorder.add(record)
    history = read(tmp_path)
    assert history.requests("send") == [request]
    assert history.of(LiveEvent) == [event]
    assert history.of(Fault) == [fault]
    assert history.of(FinalConversation) == [final]


def test_a_line_that_a_killed_process_left_unfinished_is_left_out(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.add(sent("m1"))
    with recorder.path.open("ab") as file:
        file.write(b'{"record":"Req')
    assert read(tmp_path).acknowledged == 1


def test_a_repetition_and_an_unknown_outcome_acknowledge_nothing_new() -> None:
    assert History([sent("m1"), sent("m1"), sent("m2", Outcome.UNKNOWN)]).acknowledged == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, Outcome.OK), (304, Outcome.OK), (409, Outcome.REFUSED), (503, Outcome.UNKNOWN), (0, Outcome.UNKNOWN)],
)
def test_an_error_of_the_server_leaves_the_outcome_open(status: int, outcome: Outcome) -> None:
    assert outcome_of(status) is outcome
