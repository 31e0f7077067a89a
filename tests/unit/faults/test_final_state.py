import msgspec

from tests.faults import final_state
from tests.faults.history import FinalReadModel, StoredEvent

EQUAL = {
    "projection": "friends",
    "equal": True,
    "changed": 0,
    "missing": 0,
    "extra": 0,
    "lost": [],
    "dead_letters": 0,
    "differences": [],
}


def read_models(*projections: object, failed: object = ()) -> list[FinalReadModel]:
    return list(final_state.read_models(msgspec.json.encode({"projections": projections, "failed": failed}).decode()))


def test_an_equal_read_model_without_dead_letters_is_equal() -> None:
    assert [model.is_equal for model in read_models(EQUAL)] == [True]


def test_a_read_model_that_differs_or_has_dead_letters_or_could_not_be_compared_is_not() -> None:
    differing = {**EQUAL, "equal": False, "missing": 1}
    parked = {**EQUAL, "dead_letters": 1}
    models = read_models(differing, parked, failed=[{"projection": "users", "error": "no answer"}])
    assert [(model.name, model.is_equal) for model in models] == [
        ("friends", False),
        ("friends", False),
        ("users", False),
    ]
    assert models[2].differences == "no answer"


def test_a_long_stream_is_recorded_in_parts() -> None:
    lines = [
        msgspec.json.encode({"sequence": number, "id": f"e{number}", "type": "t", "subject": "s", "version": number})
        for number in range(1, 1_202)
    ]
    parts = list(final_state.stream("AUTH", (line.decode() for line in lines)))
    assert [len(part.events) for part in parts] == [1_000, 201]
    assert parts[1].events[-1] == StoredEvent(1_201, "e1201", "t", "s", 1_201)
