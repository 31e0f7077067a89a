from tests.faults.history import FinalReadModel, FinalStream, StoredEvent
from tests.unit.faults.made_up import findings


def stream(*events: StoredEvent) -> FinalStream:
    return FinalStream.of("MESSAGES", list(events))


FIRST = StoredEvent(1, "e1", "message.sent", "a", 1)
SECOND = StoredEvent(2, "e2", "message.sent", "a", 2)


def test_equal_read_models_and_regular_streams_are_sound() -> None:
    other = StoredEvent(3, "e3", "message.sent", "b", 1)
    assert findings(FinalReadModel(name="friends", is_equal=True), stream(FIRST), stream(SECOND, other)) == []


def test_a_read_model_that_differs_from_its_stream_is_noticed() -> None:
    assert findings(FinalReadModel(name="friends", is_equal=False, differences="1 row")) == ["read_models.unequal"]


def test_a_sequence_that_a_stream_leaves_out_is_noticed() -> None:
    assert findings(stream(FIRST, StoredEvent(3, "e3", "message.sent", "a", 2))) == ["read_models.irregular_streams"]


def test_a_version_that_is_stored_twice_is_noticed() -> None:
    assert findings(stream(FIRST, StoredEvent(2, "e2", "message.sent", "a", 1))) == ["read_models.irregular_streams"]


def test_an_event_that_is_stored_twice_is_noticed() -> None:
    assert findings(stream(FIRST, StoredEvent(2, "e1", "message.sent", "a", 2))) == ["read_models.irregular_streams"]
