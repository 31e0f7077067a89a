"""Given what happened to a session, when it is refreshed or revoked, then these events follow or that refusal."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRefreshToken, SessionNotFound, Unavailable, VestnikError
from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from services.session import domain
from services.session.domain import CreateSession, Session, Terms

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = 30 * DAY
TERMS = Terms(MONTH, 90 * DAY)
CREATE = CreateSession(user_id="anna", username="anna", device="phone", address="192.0.2.1")


def evolved(state: Session, events: tuple[Event, ...], at: datetime) -> Session:
    for event in events:
        state = domain.evolve(state, event, at)
    return state


def refresh(state: Session, generation: int, at: datetime) -> tuple[Event, ...]:
    return domain.decide_refresh(state, generation, began=START, now=at, terms=TERMS)


def session(*refreshed: datetime) -> Session:
    state = evolved(Session(), domain.decide_create(Session(), CREATE, START, TERMS), START)
    for at in refreshed:
        state = evolved(state, refresh(state, state.generation, at), at)
    return state


def test_a_new_session_has_the_first_generation_and_lives_for_its_lifetime() -> None:
    state = session()
    assert state.generation == 1
    assert state.active(START + MONTH - timedelta(seconds=1))
    assert not state.active(START + MONTH)


def test_a_session_is_created_once_however_often_the_call_is_repeated() -> None:
    assert domain.decide_create(session(), CREATE, START, TERMS) == ()
    others = msgspec.structs.replace(CREATE, user_id="boris")
    ended = domain.evolve(session(), SessionRevoked(user_id="anna", reason="logout"), START)
    for state, command in ((session(), others), (ended, CREATE)):
        with pytest.raises(Unavailable):
            domain.decide_create(state, command, START, TERMS)


def test_the_good_token_makes_the_next_generation_and_prolongs_the_session() -> None:
    events = refresh(session(), 1, START + DAY)
    assert events == (SessionRefreshed(user_id="anna", generation=2, expires_at=START + DAY + MONTH),)


def test_a_session_ends_at_the_latest_when_its_longest_time_is_over_however_often_it_is_refreshed() -> None:
    days = [START + number * 20 * DAY for number in range(1, 5)]
    state = session(*days)
    assert state.expires_at == START + 90 * DAY
    assert refresh(state, 5, START + 90 * DAY - timedelta(seconds=1))
    with pytest.raises(InvalidRefreshToken):
        refresh(state, 5, START + 90 * DAY)


def test_a_session_from_before_there_was_a_longest_time_is_not_refreshed_beyond_it() -> None:
    state = msgspec.structs.replace(session(), expires_at=START + 110 * DAY)
    assert refresh(state, 1, START + 89 * DAY) == (
        SessionRefreshed(user_id="anna", generation=2, expires_at=START + 90 * DAY),
    )
    with pytest.raises(InvalidRefreshToken):
        refresh(state, 1, START + 90 * DAY)


def test_the_longest_time_counts_from_the_login_when_it_is_the_shorter_one_too() -> None:
    (created,) = domain.decide_create(Session(), CREATE, START, Terms(MONTH, DAY))
    assert isinstance(created, SessionCreated)
    assert created.expires_at == START + DAY


def test_a_token_spent_moments_ago_is_served_again() -> None:
    state = session(START + DAY)
    assert refresh(state, 1, START + DAY + domain.GRACE) == ()


def test_a_token_spent_longer_ago_ends_the_session() -> None:
    state = session(START + DAY)
    late = START + DAY + domain.GRACE + timedelta(milliseconds=1)
    assert refresh(state, 1, late) == (SessionRevoked(user_id="anna", reason="refresh_token_reused"),)


def test_a_spent_token_whose_successor_was_used_ends_the_session_immediately() -> None:
    state = session(START + DAY, START + DAY)
    assert isinstance(refresh(state, 1, START + DAY)[0], SessionRevoked)


@pytest.mark.parametrize("generation", [1, 2])
def test_no_token_of_a_revoked_session_is_good(generation: int) -> None:
    state = evolved(session(START), (SessionRevoked(user_id="anna", reason="logout"),), START)
    with pytest.raises(InvalidRefreshToken):
        refresh(state, generation, START)


@pytest.mark.parametrize("generation", [1, 2])
def test_no_token_of_a_session_that_ran_out_is_good(generation: int) -> None:
    with pytest.raises(InvalidRefreshToken):
        refresh(session(START), generation, START + MONTH)


@pytest.mark.parametrize(("state", "generation"), [(Session(), 1), (session(), 2), (session(), 0)])
def test_a_token_that_was_never_given_is_refused(state: Session, generation: int) -> None:
    with pytest.raises(InvalidRefreshToken):
        refresh(state, generation, START)


def test_a_user_ends_their_own_session() -> None:
    assert domain.decide_revoke(session(), "anna", "logout", START) == (
        SessionRevoked(user_id="anna", reason="logout"),
    )


@pytest.mark.parametrize(
    ("state", "user", "at"),
    [
        (Session(), "anna", START),
        (session(), "boris", START),
        (session(), "anna", START + MONTH),
        (evolved(session(), (SessionRevoked(user_id="anna", reason="logout"),), START), "anna", START),
    ],
)
def test_a_session_that_is_not_there_for_the_user_cannot_be_ended(state: Session, user: str, at: datetime) -> None:
    with pytest.raises(SessionNotFound):
        domain.decide_revoke(state, user, "logout", at)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refresh", "refresh", "refresh", "revoke"]),
        st.integers(0, 3),  # how many generations back the token is
        st.sampled_from([0, 1, 29, 31, 3600, 31 * 86_400]),  # seconds that pass before
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_one_generation_is_good_at_most_and_an_ended_session_stays_ended(
    steps: list[tuple[str, int, int]],
) -> None:
    state, now = session(), START
    for action, generations_back, seconds in steps:
        now += timedelta(seconds=seconds)
        before = state
        generation = state.generation - generations_back
        try:
            if action == "refresh":
                events = refresh(state, generation, now)
            else:
                events = domain.decide_revoke(state, "anna", "logout", now)
        except VestnikError:
            assert action == "revoke" or not before.active(now) or generation < 1
            continue
        assert before.active(now)
        state = evolved(state, events, now)
        # The last event alone says all of it: nothing before that is ever read.
        assert state == evolved(Session() if events else before, events[-1:], now)
        # One step at a time, and only by the good token.
        assert state.revoked or state.generation in (before.generation, before.generation + 1)
        if state.generation > before.generation:
            assert generations_back == 0
        # A spent token leads to new tokens only in its grace, and then to the same ones.
        if action == "refresh" and generations_back > 0 and not state.revoked:
            assert generations_back == 1
            assert state == before
        if before.revoked:
            assert state.revoked


def test_the_origin_of_a_login_has_a_term_where_the_installation_sets_one() -> None:
    (created,) = domain.decide_create(Session(), CREATE, START, Terms(MONTH, 90 * DAY, DAY))
    assert isinstance(created, SessionCreated)
    assert created.origin_until == START + DAY
    (created,) = domain.decide_create(Session(), CREATE, START, TERMS)
    assert isinstance(created, SessionCreated)
    assert created.origin_until is None
