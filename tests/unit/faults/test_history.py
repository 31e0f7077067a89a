import pytest

from tests.faults.history import History, Outcome, Request, outcome_of


def sent(message_id: str, outcome: Outcome = Outcome.OK) -> Request:
    answer = {"message_id": message_id, "sequence": 1} if outcome is Outcome.OK else {}
    return Request(client="a", operation="send", started=1.0, ended=2.0, outcome=outcome, answer=answer)


def test_a_repetition_and_an_unknown_outcome_acknowledge_nothing_new() -> None:
    assert History([sent("m1"), sent("m1"), sent("m2", Outcome.UNKNOWN)]).acknowledged == 1


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, Outcome.OK), (304, Outcome.OK), (409, Outcome.REFUSED), (503, Outcome.UNKNOWN), (0, Outcome.UNKNOWN)],
)
def test_an_error_of_the_server_leaves_the_outcome_open(status: int, outcome: Outcome) -> None:
    assert outcome_of(status) is outcome
