"""Each fault of an event is named, and a healthy history has none."""

import msgspec
import pytest

from contracts.envelope import Envelope, Provenance, encode, seal
from contracts.events.loss import EVENTS_LOST
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING, conversation, lost_in, profile
from contracts.values.ids import new_id
from infra.archive.event_check import EventCheck

ID = new_id()
SUBJECT = conversation(ID)


def sent(version: int, aggregate_id: str = ID) -> Envelope:
    event = MessageSent(
        message_id=new_id(),
        sender_id=new_id(),
        recipient_id=new_id(),
        sequence=version,
        text="hello",
        client_message_id="1",
    )
    return seal(event, aggregate_id=aggregate_id, version=version, provenance=Provenance())


class History:
    """A stream of events as they are checked."""

    def __init__(self) -> None:
        self.check = EventCheck(MESSAGING, set())
        self.sequence = 0

    def add(self, envelope: Envelope, subject: str = SUBJECT, *, discarded: bool = False, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.add_bytes(encode(envelope), subject, {"Nats-Msg-Id": envelope.id} | named, discarded=discarded)

    def add_bytes(self, payload: bytes, subject: str, headers: dict[str, str], *, discarded: bool = False) -> None:
        self.sequence += 1
        self.check.check(self.sequence, subject, payload, headers, discarded=discarded)

    @property
    def faults(self) -> list[str]:
        assert self.check.faults == len(self.check.named)
        return [f"{fault.sequence} {fault.what}" for fault in self.check.named]


@pytest.fixture
def history() -> History:
    """Two events of a conversation."""
    history = History()
    history.add(sent(1), Nats_Expected_Stream=MESSAGING, Nats_Expected_Last_Subject_Sequence="0")
    history.add(sent(2), Nats_Expected_Stream=MESSAGING, Nats_Expected_Last_Subject_Sequence="1")
    return history


def test_a_healthy_history_has_no_fault(history: History) -> None:
    other = new_id()
    history.add(sent(1, other), conversation(other))
    history.add(sent(3), Nats_Expected_Last_Subject_Sequence="2")
    assert history.faults == []
    assert (history.check.events, history.check.aggregates) == (4, 2)


def test_a_version_that_is_skipped_repeated_or_not_the_first_is_a_fault(history: History) -> None:
    other = new_id()
    history.add(sent(4))
    history.add(sent(4))
    history.add(sent(2, other), conversation(other))
    assert history.faults == [
        "3 has version 4, after version 2",
        "4 has version 4, after version 4",
        "5 has version 2, and is the first of its aggregate",
    ]


def test_versions_may_be_skipped_where_as_many_events_were_lost_and_that_was_accepted(history: History) -> None:
    history.check.lost(2)
    history.add(sent(5), Nats_Expected_Last_Subject_Sequence="4")
    history.add(sent(7))
    assert history.faults == ["4 has version 7, after version 5"]


def test_placeholders_have_any_version_and_stand_for_lost_events(history: History) -> None:
    placeholder = EVENTS_LOST[MESSAGING](first=3, last=3)
    history.add(seal(placeholder, aggregate_id="lost", version=1, provenance=Provenance()), lost_in(MESSAGING))
    history.add(sent(4))
    assert history.faults == []


def test_what_is_no_event_or_of_no_known_type_is_a_fault_unless_it_was_discarded(history: History) -> None:
    future = msgspec.structs.replace(sent(4), type="message.sent_by_thought")
    history.add_bytes(b"\0", SUBJECT, {})
    history.add(future)
    history.add(msgspec.structs.replace(future, id=new_id(), version=5), discarded=True)
    unreadable, unknown = history.faults
    assert unreadable.startswith("3 cannot be read: no event: ")
    assert unknown == "4 cannot be read: message.sent_by_thought, a type that this release does not know"


def test_an_event_on_a_subject_that_is_not_its_own_is_a_fault(history: History) -> None:
    other = new_id()
    history.add(sent(1, other), profile(other))
    history.add(sent(1, other), f"vestnik.messaging.message.{other}")
    history.add(sent(3, other))
    assert history.faults == [
        "3 has a subject of another stream",
        "4 is a message.sent, which belongs on vestnik.messaging.conversation.{conversation_id}",
        f"5 names another aggregate: {other}",
    ]


def test_an_id_that_an_earlier_event_has_is_a_fault_in_any_stream(history: History) -> None:
    repeated = sent(3)
    history.add(repeated)
    other = EventCheck("CONTACT", history.check.ids)
    other.check(1, SUBJECT, encode(repeated), {"Nats-Msg-Id": repeated.id})
    history.add(msgspec.structs.replace(repeated, version=4))
    assert history.faults == [f"4 has the id of an earlier event: {repeated.id}"]
    assert f"has the id of an earlier event: {repeated.id}" in [fault.what for fault in other.named]


def test_headers_of_another_event_stream_or_condition_are_a_fault(history: History) -> None:
    third, fourth = sent(3), sent(4)
    history.add(third, Nats_Expected_Last_Subject_Sequence="1", Nats_Expected_Stream="AUTH")
    history.add_bytes(encode(fourth), SUBJECT, {})
    assert history.faults == [
        "3 was appended to another stream: AUTH",
        "3 was appended after 1 of its subject, which is 2 here",
        f"4 has the header Nats-Msg-Id (none), and the id {fourth.id}",
    ]


def test_of_many_faults_the_first_hundred_are_named(history: History) -> None:
    for _ in range(150):
        history.add(sent(1))
    assert (history.check.faults, len(history.check.named)) == (150, 100)
