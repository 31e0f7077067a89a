"""The facts of anomalies: first logins from networks, and password changes, whatever comes first."""

from datetime import UTC, datetime, timedelta

import msgspec

from contracts.events.login_failure import LoginFailed
from contracts.events.session import SessionCreated
from contracts.events.user import PasswordChanged
from contracts.values.ids import new_id
from projections.anomalies import Anomalies
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def login(address: str, user_id: str = ANNA) -> SessionCreated:
    return SessionCreated(user_id=user_id, username="anna", device="phone", address=address, expires_at=LATER)


async def test_the_first_login_from_each_network_is_kept(read_model: OpenReadModel) -> None:
    model = await read_model(Anomalies)
    await model.given(login("192.0.2.1"), login("192.0.2.77"), login("198.51.100.7"), at=NOON)
    await model.when(login("192.0.2.0/24"), login("192.0.2.200", BORIS), login("2001:db8:1:2::3"), at=LATER)
    await model.when(login("2001:db8:1:ffff::9%eth0"), login("::ffff:192.0.2.9"), at=LATER + timedelta(hours=1))
    rows = await model.rows("SELECT user_id, network, first_at FROM {networks}")
    second = timedelta(seconds=1)
    assert set(rows) == {
        (ANNA, "192.0.2.0/24", NOON),
        (ANNA, "198.51.100.0/24", NOON + 2 * second),
        (BORIS, "192.0.2.0/24", LATER + second),
        (ANNA, "2001:db8:1::/48", LATER + 2 * second),
    }


async def test_the_first_login_is_that_of_the_earliest_time_even_if_the_clock_went_back(
    read_model: OpenReadModel,
) -> None:
    model = await read_model(Anomalies)
    await model.given(login("192.0.2.1"), at=NOON)
    await model.when(login("192.0.2.2"), at=NOON - timedelta(hours=1))
    assert await model.rows("SELECT first_at FROM {networks}") == [(NOON - timedelta(hours=1),)]


async def test_an_address_that_names_no_network_leaves_no_row(read_model: OpenReadModel) -> None:
    model = await read_model(Anomalies)
    invalid = ("", "unknown", "a host", "1.2.3", "1.2.3.4/33", "1.2.3.4.5", "::1::", "%", "/", "9" * 5_000)
    await model.given(*map(login, invalid))
    assert await model.rows("SELECT * FROM {networks}") == []


async def test_every_password_change_is_a_row(read_model: OpenReadModel) -> None:
    model = await read_model(Anomalies)
    changed = PasswordChanged(password_hash="x", generation=2, reason="password_changed")
    reset = PasswordChanged(password_hash="y", generation=3, reason="password_reset")
    await model.given(changed, reset, of=ANNA, at=NOON)
    assert await model.rows("SELECT user_id, at, reason FROM {password_changes} ORDER BY sequence") == [
        (ANNA, NOON, "password_changed"),
        (ANNA, NOON + timedelta(seconds=1), "password_reset"),
    ]


async def test_networks_end_with_the_month_in_which_the_term_of_their_logins_ends(read_model: OpenReadModel) -> None:
    model = await read_model(Anomalies)
    ended, kept = datetime(2026, 2, 27, tzinfo=UTC), datetime(2999, 12, 5, tzinfo=UTC)
    for until in (ended, kept, kept + timedelta(days=26), None):
        await model.given(msgspec.structs.replace(login("192.0.2.1"), origin_until=until), at=NOON)
        failure = LoginFailed(
            user_id=ANNA, reason="wrong_password", address="192.0.2.1", device="", number=1, origin_until=until
        )
        await model.when(failure, of=ANNA, at=NOON)
    end = datetime(3000, 1, 1, tzinfo=UTC)
    assert set(await model.rows("SELECT month, ends_at FROM {networks}")) == {("2999-12", end), ("", None)}
    assert set(await model.rows("SELECT month, failures, ends_at FROM {address_hours}")) == {
        ("2999-12", 2, end),
        ("", 1, None),
    }
