"""Given a person's key ring, when keys are created, destroyed or held, then these events follow."""

import time
from datetime import UTC, datetime

import pytest

from contracts.errors import LegalHold, MessageNotFound, UserNotFound
from contracts.events.data_keys import (
    DataKeysCreated,
    DataKeysDestroyed,
    DataKeysHoldPlaced,
    DataKeysHoldReleased,
)
from contracts.events.event import Event
from contracts.personal_data.key_ids import person_key, text_key
from contracts.values.ids import new_id
from services.auth.data_keys import domain
from services.auth.data_keys.domain import ERASURE, LOSS_ACCEPTED, REGISTRATION_ENDED, RETENTION, KeyRing

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
USER, CONVERSATION = "0000000a-0000-7000-8000-000000000000", "0000000b-0000-7000-8000-000000000000"
PERSON, TEXT = person_key(USER), text_key(CONVERSATION, USER, NOW)
CREATED = DataKeysCreated(key_ids=(PERSON, TEXT))


def after(*events: Event) -> KeyRing:
    ring = KeyRing()
    for event in events:
        ring = domain.evolve(ring, event, NOW)
    return ring


def test_a_key_is_recorded_once() -> None:
    assert domain.decide_create(KeyRing(), [TEXT, PERSON]) == (CREATED,)
    assert domain.decide_create(after(CREATED), [TEXT, PERSON]) == ()
    assert domain.decide_create(after(DataKeysCreated(key_ids=(PERSON,))), [TEXT, PERSON]) == (
        DataKeysCreated(key_ids=(TEXT,)),
    )


def test_no_key_takes_the_place_of_a_destroyed_one() -> None:
    month = DataKeysDestroyed(key_ids=(TEXT,), reason=RETENTION)
    with pytest.raises(MessageNotFound):
        domain.decide_create(after(CREATED, month), [TEXT])
    assert domain.decide_create(after(CREATED, month), [PERSON]) == ()
    for end in (DataKeysDestroyed(reason=ERASURE), DataKeysDestroyed(key_ids=(PERSON,), reason=LOSS_ACCEPTED)):
        for key_id in (PERSON, TEXT, text_key(USER, USER, NOW)):
            with pytest.raises(UserNotFound):
                domain.decide_create(after(CREATED, end), [key_id])


def test_a_key_is_destroyed_once() -> None:
    month = DataKeysDestroyed(key_ids=(TEXT,), reason=RETENTION)
    assert domain.decide_destroy(after(CREATED), [TEXT], RETENTION) == (month,)
    assert domain.decide_destroy(after(CREATED, month), [TEXT], RETENTION) == ()
    everything = DataKeysDestroyed(reason=ERASURE)
    assert domain.decide_destroy(after(CREATED, month), [], ERASURE) == (everything,)
    assert domain.decide_destroy(after(CREATED, everything), [], ERASURE) == ()
    assert domain.decide_destroy(after(CREATED, everything), [TEXT], RETENTION) == ()
    # Of a person without keys too: none is ever made then.
    assert domain.decide_destroy(KeyRing(), [], REGISTRATION_ENDED) == (DataKeysDestroyed(reason=REGISTRATION_ENDED),)


def test_a_legal_hold_keeps_the_keys_until_it_is_released() -> None:
    placed = DataKeysHoldPlaced(reason="a court's order")
    assert domain.decide_hold(after(CREATED), "a court's order") == (placed,)
    held = after(CREATED, placed)
    assert domain.decide_hold(held, "another one") == ()
    for key_ids, reason in (((), ERASURE), ((TEXT,), RETENTION)):
        with pytest.raises(LegalHold):
            domain.decide_destroy(held, key_ids, reason)
    assert domain.decide_destroy(held, [TEXT], LOSS_ACCEPTED) != ()
    assert domain.decide_create(held, [TEXT]) == ()
    assert domain.decide_release(held) == (DataKeysHoldReleased(),)
    released = after(CREATED, placed, DataKeysHoldReleased())
    assert domain.decide_release(released) == ()
    assert domain.decide_destroy(released, [], ERASURE) != ()


def test_no_hold_is_placed_on_the_keys_of_an_erased_person() -> None:
    with pytest.raises(UserNotFound):
        domain.decide_hold(after(CREATED, DataKeysDestroyed(reason=ERASURE)), "too late")


def test_a_ring_of_very_many_keys_is_read_in_a_moment() -> None:
    """Of an account that writes in thousands of conversations for years, one key per event."""
    key_ids = [text_key(new_id(), USER, NOW) for _ in range(50_000)]
    started = time.process_time()
    ring = after(*(DataKeysCreated(key_ids=(key_id,)) for key_id in key_ids))
    assert time.process_time() - started < 3
    assert all(key_id in ring.created for key_id in key_ids)
    assert TEXT not in ring.created
    assert domain.decide_create(ring, key_ids) == ()
