from contracts.envelope import now
from services.gateway.live.fanout import OutboundEvent
from services.gateway.live.replay_buffer import ReplayBuffer


def told(sequence: int, size: int = 2) -> OutboundEvent:
    return OutboundEvent(
        channel="CONTACT", sequence=sequence, type="t", at=now(), payload_by_user={"anna": b"x" * size}
    )


def of_message(sequence: int, kind: str, text: bytes, message_id: str = "m") -> OutboundEvent:
    return OutboundEvent(
        channel="MESSAGING",
        sequence=sequence,
        type=kind,
        at=now(),
        payload_by_user={"anna": text},
        message_id=message_id,
    )


def sequences(recent: ReplayBuffer, after: int) -> list[int]:
    return [each.sequence for each in recent.since(after)]


def test_what_was_told_behind_a_place_is_found_in_order() -> None:
    recent = ReplayBuffer()
    recent.begin(5)
    for sequence in (7, 8, 12):
        recent.add(told(sequence))
    assert recent.oldest_sequence == 5
    assert sequences(recent, 5) == [7, 8, 12]
    assert sequences(recent, 8) == [12]
    assert sequences(recent, 12) == []


def test_the_oldest_is_given_up_and_the_floor_says_so() -> None:
    recent = ReplayBuffer(most=2)
    for sequence in (3, 4, 9):
        recent.add(told(sequence))
    assert recent.oldest_sequence == 3
    assert sequences(recent, 3) == [4, 9]


def test_its_size_is_bounded_in_bytes_too() -> None:
    recent = ReplayBuffer(most_bytes=100)
    for sequence in range(1, 11):
        recent.add(told(sequence, size=30))
    assert recent.oldest_sequence == 7
    assert sequences(recent, 7) == [8, 9, 10]


def test_who_begins_anew_has_forgotten() -> None:
    recent = ReplayBuffer()
    recent.add(told(1))
    recent.begin(9)
    assert (recent.oldest_sequence, sequences(recent, 0)) == (9, [])


def test_a_deleted_message_has_no_text_in_what_was_told_before() -> None:
    recent = ReplayBuffer(most_bytes=140)
    recent.add(of_message(1, "message.sent", b"x" * 40))
    recent.add(of_message(2, "message.sent", b"other", "n"))
    recent.add(of_message(3, "message.edited", b"y" * 60))
    recent.add(of_message(4, "message.deleted", b"gone"))
    found = recent.since(0)
    assert [(each.sequence, each.type, each.payload_by_user["anna"]) for each in found] == [
        (1, "message.sent", b"gone"),
        (2, "message.sent", b"other"),
        (3, "message.edited", b"gone"),
        (4, "message.deleted", b"gone"),
    ]
    # The room of the texts is free again.
    recent.add(of_message(5, "message.sent", b"z" * 100, "o"))
    assert sequences(recent, 0) == [1, 2, 3, 4, 5]
