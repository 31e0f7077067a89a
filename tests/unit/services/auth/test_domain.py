"""Given a user, when the address is verified, then this event follows."""

from datetime import UTC, datetime

from contracts.events.user import UserCreated, UserEmailVerified
from services.auth import domain
from services.auth.domain import User

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_user_is_verified_once() -> None:
    user = domain.evolve_user(User(), UserCreated(username="anna"), START)
    assert domain.decide_user_verified(user) == (UserEmailVerified(),)
    assert domain.decide_user_verified(domain.evolve_user(user, UserEmailVerified(), START)) == ()
