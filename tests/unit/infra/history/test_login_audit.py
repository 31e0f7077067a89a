"""The login audit computed from events, including session ends that have no event."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.values.personal_data import Sealed
from infra.cli.accounts.audit import _csv, _json, _line
from infra.history.login_audit import LoginAudit, Query, Row

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def created(user: str, until: datetime) -> SessionCreated:
    return SessionCreated(user_id=user, username=f"{user}s", device="phone", address="192.0.2.1", expires_at=until)


def revoked(user: str, reason: str, note: str | None = None) -> SessionRevoked:
    return SessionRevoked(user_id=user, reason=reason, note=note)


def followed(*events: tuple[str, Event, datetime], query: Query | None = None, actor: str | None = None) -> list[Row]:
    trail = LoginAudit(query or Query())
    return [row for session, event, at in events for row in trail.add(session, event, at, actor)]


def told(rows: list[Row]) -> list[tuple[str, str, str | None]]:
    return [(row.session_id, row.event, row.reason) for row in rows]


def test_an_end_says_why_and_whose_login_it_was() -> None:
    rows = followed(("1", created("anna", START + DAY), START), ("1", revoked("anna", "logout"), START + HOUR))
    assert told(rows) == [("1", "session.created", None), ("1", "session.revoked", "logout")]
    assert {(row.user_id, row.username, row.device, row.address) for row in rows} == {
        ("anna", "annas", "phone", "192.0.2.1")
    }


def test_a_session_that_ran_out_ends_between_the_events_of_that_time() -> None:
    rows = followed(
        ("1", created("anna", START + DAY), START),
        ("2", created("boris", START + 3 * DAY), START + HOUR),
        ("3", created("clara", START + 5 * DAY), START + 2 * DAY),
    )
    assert told(rows) == [
        ("1", "session.created", None),
        ("2", "session.created", None),
        ("1", "session.expired", "expired"),
        ("3", "session.created", None),
    ]
    assert rows[2].at == START + DAY


def test_a_refresh_puts_the_end_off_and_shows_where_asked_for() -> None:
    events: tuple[tuple[str, Event, datetime], ...] = (
        ("1", created("anna", START + DAY), START),
        ("1", SessionRefreshed(user_id="anna", generation=2, expires_at=START + 2 * DAY), START + HOUR),
    )
    trail = LoginAudit(Query())
    rows = [row for session, event, at in events for row in trail.add(session, event, at, None)]
    assert told(rows) == [("1", "session.created", None)]
    assert list(trail.expired_rows(START + DAY)) == []
    assert told(list(trail.expired_rows(START + 2 * DAY))) == [("1", "session.expired", "expired")]
    assert [row.event for row in followed(*events, query=Query(refreshes=True))][1] == "session.refreshed"


def test_a_user_is_found_by_id_and_by_name_in_any_case() -> None:
    events: tuple[tuple[str, Event, datetime], ...] = (
        ("1", created("anna", START + DAY), START),
        ("2", created("boris", START + DAY), START),
        ("2", revoked("boris", "logout"), START),
        ("1", revoked("anna", "logout"), START),
    )
    for user in ("anna", "ANNAS"):
        assert {row.session_id for row in followed(*events, query=Query(user=user))} == {"1"}


def test_what_an_operator_ended_says_who_and_why() -> None:
    login = ("1", created("anna", START + DAY), START)
    end = ("1", revoked("anna", "operator", "stolen phone"), START)
    assert followed(login, end, actor="operator:alice")[-1].reason == "operator alice: stolen phone"
    without = ("1", revoked("anna", "operator"), START)
    assert followed(login, without, actor="operator:alice")[-1].reason == "operator alice"


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("crx"), st.integers(0, 60)), max_size=40))
def test_every_session_ends_once_at_most_and_lines_are_in_the_order_of_time(
    steps: list[tuple[int, str, int]],
) -> None:
    """Whatever happens, in the order in which a service would let it happen."""
    trail, rows, at, numbers = LoginAudit(Query()), list[Row](), START, 0
    current: dict[int, tuple[str, datetime]] = {}
    for who, what, minutes in steps:
        at += timedelta(minutes=minutes)
        known = current.get(who)
        if known is not None and known[1] <= at:
            del current[who]
            known = None
        if what == "c":
            numbers += 1
            current[who] = (str(numbers), at + HOUR)
            rows += trail.add(str(numbers), created(f"user {who}", at + HOUR), at, None)
        elif known is not None and what == "r":
            current[who] = (known[0], at + HOUR)
            event = SessionRefreshed(user_id=f"user {who}", generation=2, expires_at=at + HOUR)
            rows += trail.add(known[0], event, at, None)
        elif known is not None:
            del current[who]
            rows += trail.add(known[0], revoked(f"user {who}", "logout"), at, None)
    rows += trail.expired_rows(at + 2 * HOUR)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    ends = [row.session_id for row in rows if row.reason is not None]
    begins = [row.session_id for row in rows if row.event == "session.created"]
    assert sorted(ends) == sorted(begins) == sorted(set(ends))


def row(device: str | None) -> Row:
    return Row(
        at=START,
        event="session.created",
        user_id="u",
        username="anna",
        session_id="s",
        device=device,
        address=None,
        reason=None,
    )


def test_what_a_client_calls_itself_steers_no_terminal_and_is_no_formula() -> None:
    hostile = row('\x1b]0;owned\x07=\u202e"x",\n')
    for rendered in (_line(hostile), _csv(hostile), _json(hostile)):
        assert rendered.count("\n") == 1
        assert not set(rendered) & {"\x1b", "\x07", "\u202e"} or rendered == _json(hostile)
    assert "\x1b" not in _json(hostile)
    for device in ("=1+1", "+1", "-1", "@x"):
        assert f",'{device}," in _csv(row(device))


def test_personal_data_that_was_forgotten_is_left_out() -> None:
    event = SessionCreated(
        user_id="anna",
        username="anna",
        device=Sealed(key="k", ciphertext="c"),
        address=Sealed(key="k", ciphertext="c"),
        expires_at=START + DAY,
    )
    (only,) = followed(("1", event, START))
    assert (only.device, only.address) == (None, None)
    assert '"device":null' in _json(only)
