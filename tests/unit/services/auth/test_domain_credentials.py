"""Given a credential, when its password is changed, reset or rehashed, then these events or that refusal follow."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from contracts.errors import InvalidCredentials, TokenExpired
from contracts.events.event import Event
from contracts.events.user import (
    AddressState,
    CredentialRehashed,
    CredentialSet,
    PasswordChanged,
    PasswordResetRequested,
    PasswordVoided,
    PendingRegistration,
)
from services.auth import domain
from services.auth.domain import KEYED, Credential, Hashed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def keyed(text: str) -> Hashed:
    return Hashed(password_hash=text, scheme=KEYED, key_id="key")


def credential(*events: Event) -> Credential:
    """The state of a credential, given by its last event."""
    return domain.evolve_credential(Credential(), events[-1], NOW)


FIRST = CredentialSet(password_hash="1")
VERIFIED = AddressState(owner="anna", email="anna@example.org", username="anna")


def test_an_event_from_before_there_was_a_key_is_a_hash_of_the_password_itself() -> None:
    stored = msgspec.json.decode(b'{"password_hash":"1"}', type=CredentialSet)
    assert credential(stored) == Credential(hashed=Hashed(password_hash="1", scheme="bcrypt"), generation=1)


def test_a_registration_names_the_scheme_and_the_key() -> None:
    (event,) = domain.decide_set_credential(keyed("1"))
    assert event == CredentialSet(password_hash="1", scheme="bcrypt-hmac-sha384", key_id="key")


def test_a_change_makes_the_next_generation_and_names_the_session_that_goes_on() -> None:
    (event,) = domain.decide_change_password(credential(FIRST), 1, keyed("2"), "here")
    assert event == PasswordChanged(
        password_hash="2",
        scheme="bcrypt-hmac-sha384",
        key_id="key",
        generation=2,
        reason="password_changed",
        kept_session_id="here",
    )
    assert credential(FIRST, event) == Credential(hashed=keyed("2"), generation=2, changed_by="password_changed")


def test_a_change_is_refused_if_the_proved_password_is_no_longer_current() -> None:
    state = credential(FIRST, *domain.decide_change_password(credential(FIRST), 1, keyed("2"), "here"))
    with pytest.raises(InvalidCredentials):
        domain.decide_change_password(state, 1, keyed("3"), "there")
    with pytest.raises(TokenExpired):
        domain.decide_reset_password(state, 1, keyed("3"))


def test_a_reset_keeps_no_session() -> None:
    (event,) = domain.decide_reset_password(credential(FIRST), 1, keyed("2"))
    assert event == PasswordChanged(
        password_hash="2", scheme="bcrypt-hmac-sha384", key_id="key", generation=2, reason="password_reset"
    )


def void(state: Credential, generation: int, at: datetime = NOW) -> tuple[PasswordVoided, ...]:
    return domain.decide_void_password(state, generation, "event", at)


def test_a_report_leaves_no_password_until_the_reset_that_follows() -> None:
    (event,) = void(credential(FIRST), 1)
    assert event == PasswordVoided(generation=2, reported="event", reported_at=NOW)
    state = credential(FIRST, event)
    assert (state.hashed, state.generation, state.changed_by) == (None, 2, "not_me")
    with pytest.raises(InvalidCredentials):
        domain.decide_change_password(state, 1, keyed("2"), "here")
    with pytest.raises(TokenExpired):
        domain.decide_reset_password(state, 1, keyed("2"))
    (reset,) = domain.decide_reset_password(state, 2, keyed("2"))
    assert isinstance(reset, PasswordChanged)
    assert (reset.generation, reset.reported_at) == (3, NOW)
    assert credential(FIRST, reset).reported_at is None


def test_a_repeated_report_changes_nothing_and_an_earlier_one_is_remembered() -> None:
    state = credential(FIRST, *void(credential(FIRST), 1))
    assert void(state, 1) == void(state, 1, NOW + HOUR) == ()
    (event,) = void(state, 1, NOW - HOUR)
    assert (event.generation, event.reported_at) == (2, NOW - HOUR)


def test_a_reset_makes_earlier_reports_useless_and_a_change_by_a_knower_of_the_password_does_not() -> None:
    """Otherwise someone who took over the account could change the password twice, and no link would work."""
    changed = credential(FIRST, *domain.decide_change_password(credential(FIRST), 1, keyed("2"), "there"))
    (event,) = void(changed, 1)
    assert event.generation == 3
    reset = credential(FIRST, *domain.decide_reset_password(changed, 2, keyed("3")))
    for generation in (1, 2, 4):
        with pytest.raises(TokenExpired):
            void(reset, generation)
    assert void(reset, 3)
    later = credential(FIRST, *domain.decide_change_password(reset, 3, keyed("4"), "there"))
    rehashed = credential(FIRST, *domain.decide_rehash(later, later, keyed("dearer")))
    voided = credential(FIRST, *void(rehashed, 3))
    for state in (later, rehashed, voided):
        with pytest.raises(TokenExpired):
            void(state, 2)


def test_a_report_that_restores_an_address_outranks_resets_and_voids_their_tokens() -> None:
    reset = credential(FIRST, *domain.decide_reset_password(credential(FIRST), 1, keyed("2")))
    voided = credential(FIRST, *void(reset, 2, NOW - HOUR))
    for state, generation in ((reset, 3), (voided, 4)):
        (event,) = domain.decide_void_password(state, 1, "event", NOW, restoring=True)
        assert (event.generation, event.reset_generation) == (generation, 0)
        assert event.reported_at == (state.reported_at or NOW)
        # Repeated, it changes nothing.
        assert void(credential(FIRST, event), 1) == ()


def test_a_report_of_a_lasting_change_is_good_after_a_reset_too() -> None:
    reset = credential(FIRST, *domain.decide_reset_password(credential(FIRST), 1, keyed("2")))
    (event,) = domain.decide_void_password(reset, 1, "event", NOW, lasting=True)
    assert (event.generation, event.reset_generation) == (3, 2)


def test_an_undo_makes_every_earlier_link_and_reset_token_useless_also_of_a_void_password() -> None:
    voided = credential(FIRST, *void(credential(FIRST), 1))
    for state, generation in ((credential(FIRST), 2), (voided, 3)):
        (event,) = domain.decide_void_after_undo(state, "restored", NOW - HOUR)
        assert (event.generation, event.reset_generation, event.reported_at) == (generation, generation, NOW - HOUR)
        after = credential(FIRST, event)
        with pytest.raises(TokenExpired):
            void(after, generation - 1)
        with pytest.raises(TokenExpired):
            domain.decide_reset_password(after, generation - 1, keyed("2"))
        assert domain.decide_reset_password(after, generation, keyed("2"))


def test_a_new_hash_of_the_same_password_is_no_change() -> None:
    state = credential(FIRST, *domain.decide_reset_password(credential(FIRST), 1, keyed("2")))
    (event,) = domain.decide_rehash(state, state, keyed("dearer"))
    assert isinstance(event, CredentialRehashed)
    after = credential(FIRST, event)
    assert (after.generation, after.changed_by, after.hashed) == (2, "password_reset", keyed("dearer"))
    assert domain.decide_rehash(after, state, keyed("dearer still")) == ()


def test_a_reset_is_requested_where_the_address_is_verified_and_once_a_minute() -> None:
    def request_reset(state: AddressState, at: datetime, credential: int = 1) -> tuple[PasswordResetRequested, ...]:
        return domain.decide_request_reset(state, state.owner, credential, at, HOUR)

    registration = PendingRegistration(user_id="b", email="anna@example.org", username="b", expires_at=NOW + HOUR)
    assert request_reset(AddressState(), NOW) == ()
    assert request_reset(AddressState(pending=(registration,)), NOW) == ()
    assert request_reset(VERIFIED, NOW, credential=0) == ()
    (event,) = request_reset(VERIFIED, NOW)
    assert (event.user_id, event.credential, event.expires_at) == ("anna", 1, NOW + HOUR)
    requested = event.address
    assert requested == msgspec.structs.replace(VERIFIED, reset_requested_at=NOW)
    assert request_reset(requested, NOW + domain.RESET_PAUSE - timedelta(seconds=1)) == ()
    assert len(request_reset(requested, NOW + domain.RESET_PAUSE)) == 1


def test_a_reset_is_for_the_owner_of_the_address_at_the_request() -> None:
    assert domain.decide_request_reset(VERIFIED, "boris", 1, NOW, HOUR) == ()


def test_a_mail_is_of_no_use_once_the_password_is_another_or_time_has_run_out() -> None:
    reset_request = PasswordResetRequested(user_id="anna", credential=1, expires_at=NOW + HOUR)
    assert domain.may_request_reset(VERIFIED, credential(FIRST), reset_request, NOW)
    assert not domain.may_request_reset(VERIFIED, credential(FIRST), reset_request, NOW + HOUR)
    changed = credential(FIRST, *domain.decide_reset_password(credential(FIRST), 1, keyed("2")))
    assert not domain.may_request_reset(VERIFIED, changed, reset_request, NOW)
