"""The audit shows who logged in, from where, and why and by whom the session was ended."""

from datetime import UTC, datetime, timedelta

from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.values.ids import new_id
from projections.session_audit import SessionAudit
from tests.fix_read_models import OpenReadModel

ANNA, SESSION = new_id(), new_id()
LATER = datetime(2027, 1, 1, tzinfo=UTC)


async def test_every_event_of_a_session_is_a_row_beside_its_login(read_model: OpenReadModel) -> None:
    model = await read_model(SessionAudit)
    login = SessionCreated(
        user_id=ANNA, username="anna", device="phone", address="192.0.2.1", expires_at=LATER, new_device=True
    )
    await model.given(login, of=SESSION, at="2026-01-31T12:00:00Z")
    renewed = LATER + timedelta(days=1)
    await model.when(SessionRefreshed(user_id=ANNA, generation=2, expires_at=renewed), of=SESSION)
    await model.when(SessionRevoked(user_id=ANNA, reason="operator", note="a lost phone"), of=SESSION)
    rows = await model.rows(
        "SELECT at, event, user_id, session_id, reason, note FROM {session_audit} ORDER BY sequence"
    )
    noon, end = datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, 0, 2, tzinfo=UTC)
    assert rows == [
        (noon, "session.created", ANNA, SESSION, None, None),
        (noon + timedelta(seconds=1), "session.refreshed", ANNA, SESSION, None, None),
        (end, "session.revoked", ANNA, SESSION, "operator", "a lost phone"),
    ]
    logins = await model.rows(
        "SELECT session_id, user_id, username, device, address, host(network), new_device, second_factor, expires_at,"
        " revoked_at, sequence"
        " FROM {session_audit_logins}"
    )
    assert logins == [(SESSION, ANNA, "anna", "phone", "192.0.2.1", "192.0.2.1", True, False, renewed, end, 2)]


async def test_the_device_and_the_address_are_shown_until_their_term_ends(read_model: OpenReadModel) -> None:
    model = await read_model(SessionAudit)
    until = {SESSION: datetime(2026, 2, 1, tzinfo=UTC), new_id(): datetime(2999, 1, 1, tzinfo=UTC), new_id(): None}
    for session, end in until.items():
        login = SessionCreated(
            user_id=ANNA, username="anna", device="phone", address="192.0.2.1", expires_at=LATER, origin_until=end
        )
        await model.given(login, of=session, at="2026-01-31T12:00:00Z")
    rows = await model.rows(
        "SELECT l.session_id, COALESCE(o.device, l.device), COALESCE(o.address, l.address),"
        " host(COALESCE(o.network, l.network))"
        " FROM {session_audit_logins} AS l LEFT JOIN {session_audit_origins} AS o USING (session_id)"
    )
    ended, *kept = until
    assert set(rows) == {
        (ended, "", "", None),
        *((session, "phone", "192.0.2.1", "192.0.2.1") for session in kept),
    }
