"""Failed logins of known and unknown accounts are rows, with their networks for comparisons."""

from datetime import UTC, datetime

from contracts.events.login_failure import UNKNOWN, LoginFailed
from contracts.values.ids import new_id
from projections.login_failures import LoginFailures
from tests.fix_read_models import OpenReadModel

ANNA = new_id()


async def test_every_failed_login_is_a_row(read_model: OpenReadModel) -> None:
    model = await read_model(LoginFailures)
    one = LoginFailed(user_id=ANNA, reason="wrong_password", address="192.0.2.1", device="\u202ephone\t\\N", number=1)
    await model.given(one, of=ANNA, at="2026-01-31T12:00:00Z")
    since = datetime(2026, 1, 31, 11, 55, tzinfo=UTC)
    counted = LoginFailed(
        user_id=None, reason="unknown_login", address="2001:db8::/48", device="", number=21, count=300, since=since
    )
    await model.when(counted, of=UNKNOWN)
    nowhere = LoginFailed(user_id=ANNA, reason="wrong_code", address="a socket", device="", number=2)
    await model.when(nowhere, of=ANNA)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows = await model.rows(
        "SELECT user_id, reason, address, host(network), device, count, since FROM {login_failures} ORDER BY sequence"
    )
    assert rows == [
        (ANNA, "wrong_password", "192.0.2.1", "192.0.2.1", "\u202ephone\t\\N", 1, noon),
        (None, "unknown_login", "2001:db8::/48", "2001:db8::", "", 300, since),
        (ANNA, "wrong_code", "a socket", None, "", 1, noon.replace(second=2)),
    ]


async def test_a_failed_login_is_shown_until_the_term_of_its_address_ends(read_model: OpenReadModel) -> None:
    model = await read_model(LoginFailures)
    for number, end in enumerate((datetime(2026, 2, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC), None), 1):
        failure = LoginFailed(
            user_id=ANNA,
            reason="wrong_code",
            address="192.0.2.1",
            device="",
            number=number,
            count=number,
            origin_until=end,
        )
        await model.given(failure, of=ANNA, at="2026-01-31T12:00:00Z")
    assert await model.rows("SELECT count FROM {login_failures} ORDER BY sequence") == [(2,), (3,)]
