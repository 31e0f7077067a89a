"""Events and their envelope: readable JSON, one class per type, no secrets in public events."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import envelope
from contracts.catalogue import EVENTS, StillSealed, decode
from contracts.envelope import Envelope, Provenance
from contracts.events.message import MessageSent
from contracts.subjects import is_public
from contracts.upcasts import STEPS, upcast
from contracts.values.ids import is_id, made_at, new_id, notification_id, pair_id

SEALED = {"key": "k", "ciphertext": "c2VjcmV0"}
REPORTED = {"message_id": "m", "sequence": 1, "sender_id": "a", "sent_at": "2026-01-31T12:00:00Z", "text": SEALED}


def sent(text: str = "hello") -> MessageSent:
    return MessageSent(message_id="m", sender_id="a", recipient_id="b", sequence=1, text=text, client_message_id="c")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_an_event_survives_its_envelope_byte_for_byte(text: str) -> None:
    sealed = envelope.seal(sent(text), aggregate_id="x", version=1, provenance=Provenance(actor="a"))
    read = envelope.open_event(envelope.decode(envelope.encode(sealed)), stream="MESSAGING", sequence=9, subject="s")
    assert read.data == sent(text)
    assert (read.id, read.version, read.sequence, read.actor) == (sealed.id, 1, 9, "a")


def test_times_are_cut_to_the_millisecond() -> None:
    assert envelope.now().microsecond % 1000 == 0
    assert envelope.now().tzinfo is UTC


def test_types_are_named_by_kind_in_the_past_tense() -> None:
    assert all(kind == event.TYPE and kind.count(".") == 1 for kind, event in EVENTS.items())
    assert {"user.created", "user.email_verified", "session.revoked", "friendship.accepted", "message.seen"} <= set(
        EVENTS
    )


def test_public_events_hold_no_secret_and_no_address() -> None:
    public = [event for event in EVENTS.values() if not event.PRIVATE]
    fields = {field for event in public for field in event.__struct_fields__}
    assert not fields & {"password_hash", "password", "email", "token", "refresh_token"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("profile.created", {"username": "anna", "display_name": SEALED}),
        ("profile.created", {"username": SEALED, "display_name": "Anna"}),
        ("email.verified", {"user_id": "a", "address": {"email": SEALED}}),
        ("report.filed", {"reporter_id": "a", "reported_id": "b", "reason": "spam", "messages": [REPORTED]}),
        ("operator.looked", {"operator": "anna", "channel": "cli", "what": "events", "filter": {"type": SEALED}}),
    ],
)
def test_personal_data_may_be_stored_sealed_but_is_only_opened_in_plain_form(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(StillSealed, match=kind):
        decode(kind, 1, msgspec.json.encode(data))
    stored = decode(kind, 1, msgspec.json.encode(data), may_be_sealed=True)
    assert decode(kind, 1, msgspec.json.encode(stored), may_be_sealed=True) == stored
    assert b"c2VjcmV0" in msgspec.json.encode(stored)


def test_a_text_about_ciphertext_is_no_sealed_text() -> None:
    text = '{"key": "k", "ciphertext": "c"}'
    message = msgspec.structs.replace(sent(text), client_message_id='"ciphertext"')
    assert decode(message.TYPE, 1, msgspec.json.encode(message)) == message


def test_a_field_that_is_not_known_yet_is_passed_over() -> None:
    assert decode("user.email_verified", 1, b'{"later": 1}') is not None


def test_an_event_of_a_later_schema_is_refused() -> None:
    with pytest.raises(LookupError, match="newer"):
        decode("user.created", 99, b"{}")


def test_an_event_of_no_known_type_is_refused() -> None:
    with pytest.raises(LookupError):
        decode("user.teleported", 1, b"{}")


def test_upcasts_run_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, ("x.happened", 1), lambda data: data | {"b": data["a"] + 1})
    monkeypatch.setitem(STEPS, ("x.happened", 2), lambda data: data | {"c": data["b"] + 1})
    assert upcast("x.happened", 1, {"a": 1}, to=3) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(LookupError):
        upcast("x.happened", 1, {"a": 1}, to=4)


def test_an_envelope_of_another_shape_is_refused() -> None:
    for payload in (b"", b"{}", b"[1]", b'{"id": 1}'):
        with pytest.raises(msgspec.DecodeError):
            envelope.decode(payload)


@pytest.mark.parametrize(
    "payload", [b'{"id":"\xff"}', b'{"x":' + b"[" * 9_999, b"\xff", b'{"at":"2026-01-31T12:00:00"}']
)
def test_every_invalid_envelope_raises_the_same_error(payload: bytes) -> None:
    complete = msgspec.json.encode(envelope.seal(sent(), aggregate_id="x", version=1, provenance=Provenance()))
    # The first of two fields of one name is read too.
    for broken in (payload, payload.removesuffix(b"}") + b"," + complete[1:]):
        with pytest.raises(msgspec.DecodeError):
            envelope.decode(broken)


@pytest.mark.parametrize("data", [b'{"text":"\xff"}', b'{"x":' + b"[" * 9_999, b"", b"1"])
def test_all_invalid_data_raises_the_same_error(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode("message.sent", 1, data)


@pytest.mark.parametrize(
    ("subject", "public"),
    [
        ("vestnik.auth.user.u", True),
        ("vestnik.auth.user.u.v", False),
        ("vestnik.auth.credential.u", False),
        ("vestnik.auth.email.h", False),
        ("vestnik.session.session.s", True),
        ("vestnik.session.alerts.u", True),
        ("vestnik.messaging.read.c.u", True),
        ("vestnik.operator.dead_letter.friends.1.CONTACT.7", False),
        ("vestnik.limits.login", False),
    ],
)
def test_a_subject_is_public_where_others_may_read_it(subject: str, public: bool) -> None:
    assert is_public(subject) == public


def test_the_envelope_is_what_the_architecture_says() -> None:
    assert set(Envelope.__struct_fields__) == {
        "id", "type", "schema", "aggregate_id", "version", "at", "actor",
        "correlation_id", "request_id", "causation_id", "traceparent", "data",
    }  # fmt: skip


def test_ids_are_version_7_and_grow_with_time() -> None:
    before = int(datetime.now(UTC).timestamp() * 1000)
    event_id = new_id()
    assert is_id(event_id)
    assert event_id[14] == "7"
    assert event_id[19] in "89ab"
    assert 0 <= int(event_id.replace("-", "")[:12], 16) - before <= 60_000


def test_ids_made_by_many_threads_are_all_different() -> None:
    new_id()
    with ThreadPoolExecutor(8) as pool:
        ids = [new for batch in pool.map(lambda _: [new_id() for _ in range(2_000)], range(8)) for new in batch]
    assert len(set(ids)) == len(ids)


def test_a_forked_process_makes_no_id_that_its_parent_makes() -> None:
    new_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, "".join(new_id() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    text = os.read(reader, 3_600).decode()
    os.close(reader)
    os.close(writer)
    child_ids = [text[index : index + 36] for index in range(0, len(text), 36)]
    assert len(child_ids) == 100
    # The digits that are chance, since the moments differ.
    assert not {one[15:] for one in child_ids} & {new_id()[15:] for _ in range(500)}


def test_a_pair_has_one_id_in_both_orders() -> None:
    one, other = new_id(), new_id()
    assert pair_id(one, other) == pair_id(other, one)
    assert pair_id(one, other) != pair_id(one, new_id())


def test_ids_that_follow_from_others_are_those_of_the_library() -> None:
    for _ in range(200):
        one, other = new_id(), new_id()
        space = UUID("5b2e0d5c-7c0f-4c7e-9d4b-0a4a3f6f1c11")
        assert pair_id(one, other) == str(uuid5(space, ":".join(sorted((one, other)))))
        assert notification_id(one, other) == str(uuid5(UUID(one), other))


def test_an_id_is_valid_in_its_canonical_form_only() -> None:
    canonical = new_id()
    assert is_id(canonical)
    for other in (
        canonical.upper(),
        canonical[:-1],
        f"{canonical}\n",
        f"{{{canonical}}}",
        canonical.replace("-", ""),
        f"urn:uuid:{canonical}",
        "",
    ):
        assert not is_id(other)


def test_an_id_says_when_it_was_made() -> None:
    before = envelope.now()
    assert before <= made_at(new_id()) <= envelope.now()
