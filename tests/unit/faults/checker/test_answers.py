import msgspec
import pytest

from tests.unit.faults.made_up import findings, read, request, send


@pytest.mark.parametrize(
    ("status", "code"), [(503, "unavailable"), (504, "deadline_exceeded"), (502, ""), (429, "rate_limited"), (0, "")]
)
def test_the_answers_of_an_outage_are_sound(status: int, code: str) -> None:
    assert findings(send(1, 1.0, status, code=code)) == []


@pytest.mark.parametrize(
    ("status", "code"), [(500, "internal"), (500, ""), (503, "internal"), (404, "not_found"), (422, "invalid")]
)
def test_any_other_answer_is_noticed(status: int, code: str) -> None:
    assert findings(send(1, 1.0, status, code=code)) == ["answers.wrong_status"]


def test_a_refusal_of_another_operation_is_noticed() -> None:
    assert findings(read(0, 1.0, 409, code="username_taken", position="")) == ["answers.wrong_status"]


def test_an_outage_without_a_time_to_try_again_is_noticed() -> None:
    silent = msgspec.structs.replace(send(1, 1.0, 503, code="unavailable"), retry_after="")
    assert findings(silent) == ["answers.without_retry_after"]
    assert findings(msgspec.structs.replace(silent, transport="websocket")) == []


def test_an_answer_after_the_bound_is_noticed() -> None:
    assert findings(request("look", {}, 1.0, lasts=50.0)) == ["answers.late"]
