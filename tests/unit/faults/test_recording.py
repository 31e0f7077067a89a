"""The files of a history are read as they were written, part by part."""

from pathlib import Path

from tests.faults.history import Fault, FinalConversation, LiveEvent, Message, Outcome, Request
from tests.faults.recording import Recorder, read


def sent(message_id: str) -> Request:
    answer = {"message_id": message_id, "sequence": 1}
    return Request(client="a", operation="send", started=1.0, ended=2.0, outcome=Outcome.OK, answer=answer)


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    request = sent("m1")
    event = LiveEvent(client="a", user_id="u", connection=2, id="q", type="message.sent", data={"n": 1}, received=3)
    fault = Fault(name="kill", targets=["nats-1"], begun=1.0, ended=2.5, step=4)
    final = FinalConversation(reader="u", other="v", messages=[Message("m1", 1, "u", "hello")])
    with Recorder(tmp_path) as recorder:
        for record in (request, event, fault, final):
            recorder.add(record)
    (history,) = read(tmp_path)
    assert history.requests("send") == [request]
    assert history.of(LiveEvent) == [event]
    assert history.of(Fault) == [fault]
    assert history.of(FinalConversation) == [final]


def test_a_line_that_a_killed_process_left_unfinished_is_left_out(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.add(sent("m1"))
    with recorder.path.open("ab") as file:
        file.write(b'{"record":"Req')
    (history,) = read(tmp_path)
    assert history.acknowledged == 1


def test_parts_are_read_one_after_another_that_of_the_whole_run_first(tmp_path: Path) -> None:
    fault = Fault(name="kill", targets=["nats-1"], begun=1.0, ended=2.5)
    with Recorder(tmp_path) as recorder:
        for name in ("b", "a"):
            recorder.part(name).add(sent(name))
        recorder.add(fault)
    run, *parts = read(tmp_path)
    assert run.of(Fault) == [fault]
    assert [part.requests("send") for part in parts] == [[sent("a")], [sent("b")]]
