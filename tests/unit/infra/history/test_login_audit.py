"""The login audit computed from events, including session ends that have no event."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.values.addresses import parse_network
from infra.history.login_audit import LoginAudit, Query, Row

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def created(user: str, until: datetime) -> SessionCreated:
    return SessionCreated(user_id=user, username=f"{user}s", device="phone", address="192.0.2.1", expires_at=until)


def revoked(user: str, reason: str, note: str | None = None) -> SessionRevoked:
    return SessionRevoked(user_id=user, reason=reason, note=note)


def followed(*events: tuple[str, Event, datetime], query: Query | None = None, actor: str | None = None) -> list[Row]:
    trail = LoginAudit(query or Query(), START)
    return [row for session, event, at in events for row in trail.add(session, event, at, actor)]


def summary_of(rows: list[Row]) -> list[tuple[str | None, str, str | None]]:
    return [(row.session_id, row.event, row.reason) for row in rows]


def test_an_end_has_its_reason_and_the_user_of_the_login() -> None:
    rows = followed(("1", created("anna", START + DAY), START), ("1", revoked("anna", "logout"), START + HOUR))
    assert summary_of(rows) == [("1", "session.created", None), ("1", "session.revoked", "logout")]
    assert {(row.user_id, row.username, row.device, row.address) for row in rows} == {
        ("anna", "annas", "phone", "192.0.2.1")
    }


def test_an_expired_session_ends_in_order_among_the_events() -> None:
    rows = followed(
        ("1", created("anna", START + DAY), START),
        ("2", created("boris", START + 3 * DAY), START + HOUR),
        ("3", created("clara", START + 5 * DAY), START + 2 * DAY),
    )
    assert summary_of(rows) == [
        ("1", "session.created", None),
        ("2", "session.created", None),
        ("1", "session.expired", "expired"),
        ("3", "session.created", None),
    ]
    assert rows[2].at == START + DAY


def test_a_refresh_postpones_the_end_and_is_shown_on_request() -> None:
    events: tuple[tuple[str, Event, datetime], ...] = (
        ("1", created("anna", START + DAY), START),
        ("1", SessionRefreshed(user_id="anna", generation=2, expires_at=START + 2 * DAY), START + HOUR),
    )
    trail = LoginAudit(Query(), START)
    rows = [row for session, event, at in events for row in trail.add(session, event, at, None)]
    assert summary_of(rows) == [("1", "session.created", None)]
    assert list(trail.expired_rows(START + DAY)) == []
    assert summary_of(list(trail.expired_rows(START + 2 * DAY))) == [("1", "session.expired", "expired")]
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
    without_reason = ("1", revoked("anna", "operator"), START)
    assert followed(login, without_reason, actor="operator:alice")[-1].reason == "operator alice"


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from("crx"), st.integers(0, 60)), max_size=40))
def test_every_session_ends_once_at_most_and_lines_are_in_the_order_of_time(
    steps: list[tuple[int, str, int]],
) -> None:
    """Arbitrary events in an order that a service permits."""
    trail, rows, at, numbers = LoginAudit(Query(), START), list[Row](), START, 0
    current: dict[int, tuple[str, datetime]] = {}
    for user, step, minutes in steps:
        at += timedelta(minutes=minutes)
        session = current.get(user)
        if session is not None and session[1] <= at:
            del current[user]
            session = None
        if step == "c":
            numbers += 1
            current[user] = (str(numbers), at + HOUR)
            rows += trail.add(str(numbers), created(f"user {user}", at + HOUR), at, None)
        elif session is not None and step == "r":
            current[user] = (session[0], at + HOUR)
            event = SessionRefreshed(user_id=f"user {user}", generation=2, expires_at=at + HOUR)
            rows += trail.add(session[0], event, at, None)
        elif session is not None:
            del current[user]
            rows += trail.add(session[0], revoked(f"user {user}", "logout"), at, None)
    rows += trail.expired_rows(at + 2 * HOUR)
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    ends = [str(row.session_id) for row in rows if row.reason is not None]
    begins = [str(row.session_id) for row in rows if row.event == "session.created"]
    assert sorted(ends) == sorted(begins) == sorted(set(ends))


def test_personal_data_that_was_erased_is_empty() -> None:
    event = SessionCreated(
        user_id="anna",
        username="anna",
        device="",
        address="",
        expires_at=START + DAY,
    )
    (row,) = followed(("1", event, START))
    assert (row.device, row.address) == ("", "")


def login(device: str, address: str) -> SessionCreated:
    return SessionCreated(user_id="u", username="u", device=device, address=address, expires_at=START + DAY)


def test_only_sessions_from_a_network_or_a_device_are_shown_with_their_ends() -> None:
    events: tuple[tuple[str, Event, datetime], ...] = (
        ("exact", login("Anna's iPhone", "192.0.2.7"), START),
        ("network", login("IPHONE", "192.0.2.0/24"), START),
        ("other", login("a phone", "198.51.100.1"), START),
        ("none", login("", ""), START),
        ("socket", login("x", "a socket"), START),
        *((session, revoked("u", "logout"), START + HOUR) for session in ("exact", "network", "other", "none")),
    )

    def matching_sessions(**filters: str) -> set[str | None]:
        network = filters.pop("address", None)
        query = Query(network=parse_network(network) if network else None, device=filters.get("device"))
        rows = followed(*events, query=query)
        assert all(sum(row.session_id == one.session_id for row in rows) == 2 for one in rows)
        return {row.session_id for row in rows}

    assert matching_sessions(address="192.0.2.7") == {"exact", "network"}
    assert matching_sessions(address="192.0.2.8") == {"network"}
    assert matching_sessions(address="192.0.0.0/16") == {"exact", "network"}
    assert matching_sessions(address="::ffff:192.0.2.7") == {"exact", "network"}
    assert matching_sessions(address="2001:db8::/32") == set()
    assert matching_sessions(device="iphone") == {"exact", "network"}
    assert matching_sessions(device="phone", address="198.51.100.0/24") == {"other"}


def test_a_reason_selects_ends_and_operators_by_their_kind() -> None:
    rows = followed(
        ("1", created("anna", START + DAY), START),
        ("1", revoked("anna", "operator", "stolen"), START + HOUR),
        ("2", created("anna", START + DAY), START + HOUR),
        ("2", revoked("anna", "logout"), START + 2 * HOUR),
        actor="operator:alice",
    )
    assert [row.reason for row in rows if Query(reason="operator").wants(row)] == ["operator alice: stolen"]
    assert [row.session_id for row in rows if Query(reason="logout").wants(row)] == ["2"]
    assert not any(Query(reason="operator alice").wants(row) for row in rows)


def test_an_origin_is_shown_until_its_term_ends() -> None:
    login = msgspec.structs.replace(created("anna", START + DAY), origin_until=START + HOUR)
    origins = []
    for present in (START, START + HOUR):
        [row] = LoginAudit(Query(), present).add("1", login, START, None)
        origins.append((row.device, row.address))
    assert origins == [("phone", "192.0.2.1"), ("", "")]
    network = Query(network=parse_network("192.0.2.0/24"))
    assert list(LoginAudit(network, START + HOUR).add("1", login, START, None)) == []
