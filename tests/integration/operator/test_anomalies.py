"""Anomalies are found by their rules at their thresholds, page by page, whatever order the events came in."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.envelope import Provenance, encode, now, seal
from contracts.errors import Invalid
from contracts.events.event import Event
from contracts.events.login_failure import LoginFailed
from contracts.events.operator import OperatorActed, OperatorLooked
from contracts.events.session import SessionCreated
from contracts.events.user import PasswordChanged, UserCreated
from contracts.subjects import AUTH, OPERATOR, SESSION
from contracts.values.cursors import encode_cursor
from contracts.values.ids import new_id
from infra.security.service_schemas import CachedSchemas
from infra.settings import Settings
from projections.anomalies import Anomalies
from projections.engine.inspection.verify import verify
from projections.engine.rebuild.rebuild import rebuild
from projections.users import Users
from services.operator.anomalies import metrics
from services.operator.anomalies.anomaly_page import AnomalyFilter, newest
from services.operator.anomalies.queries import AnomalyQueries, AnomalyRow
from services.operator.anomalies.rules import RULES, Anomaly, Thresholds
from services.operator.read_models import ReadModels
from streams.restore import ArchivedMessage, StreamRestorer
from tests.conditions import until

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ANNA, BORIS = new_id(), new_id()
LATER = datetime(2027, 1, 1, tzinfo=UTC)
DEFAULTS = Thresholds.of(Settings())
LOW = Thresholds(account_failures=3, address_failures=4, operator_exports=2, operator_looks=3)
ALL = AnomalyFilter()
# Subject, time, event.
Happened = tuple[str, datetime, Event]


def failed(
    at: datetime, *, user_id: str | None = ANNA, address: str = "", count: int = 1, since: datetime | None = None
) -> Happened:
    event = LoginFailed(
        user_id=user_id, reason="wrong_password", address=address, device="", number=1, count=count, since=since
    )
    return subjects.login_failures(user_id or "unknown"), at, event


def login(at: datetime, address: str, user_id: str = ANNA) -> Happened:
    event = SessionCreated(user_id=user_id, username="anna", device="", address=address, expires_at=LATER)
    return subjects.session(new_id()), at, event


def changed(at: datetime, user_id: str = ANNA, reason: str = "password_changed") -> Happened:
    return subjects.credential(user_id), at, PasswordChanged(password_hash="x", generation=2, reason=reason)


def looked(at: datetime, name: str = "olga", operator_id: str | None = None) -> Happened:
    event = OperatorLooked(operator=name, operator_id=operator_id, channel="page", what="person")
    return subjects.operator_action(new_id()), at, event


def acted(at: datetime, action: str = "archive.export", name: str = "olga") -> Happened:
    event = OperatorActed(operator=name, channel="command_line", action=action)
    return subjects.operator_action(new_id()), at, event


class StoredAnomalies:
    """The anomalies of the events in the streams, with each set of thresholds."""

    def __init__(self, streams: Client, database_url: str) -> None:
        self._streams = streams
        self._database_url = database_url

    async def after(self, *happened: Happened) -> None:
        """Stores the events in this order, and builds the read model, which has to be the same in any order."""
        by_stream: dict[str, list[ArchivedMessage]] = {AUTH: [], SESSION: [], OPERATOR: []}
        versions: Counter[str] = Counter()
        for subject, at, event in happened:
            versions[subject] += 1
            aggregate_id = subject.rsplit(".", 1)[1]
            sealed = seal(event, aggregate_id=aggregate_id, version=versions[subject], provenance=Provenance(), at=at)
            messages = by_stream[subjects.stream_of(subject)]
            messages.append(ArchivedMessage(subject, encode(sealed), {"Nats-Msg-Id": sealed.id}))
        for stream, messages in by_stream.items():
            if messages:
                await StreamRestorer(self._streams, stream).put(1, messages)
        await rebuild(Anomalies, self._streams, self._database_url)
        assert (await verify(Anomalies, self._streams, self._database_url)).equal

    def queries(self, thresholds: Thresholds = DEFAULTS) -> AnomalyQueries:
        return AnomalyQueries(ReadModels(CachedSchemas(self._database_url)), thresholds)

    async def all(self, thresholds: Thresholds = DEFAULTS, wanted: AnomalyFilter = ALL) -> list[Anomaly]:
        return (await newest(self.queries(thresholds), wanted, limit=500, cursor="")).items


@pytest.fixture
def anomalies(streams: Client, database_url: str) -> StoredAnomalies:
    return StoredAnomalies(streams, database_url)


def short(anomalies: Iterable[Anomaly]) -> list[tuple[object, ...]]:
    return [
        (anomaly.rule, anomaly.since, anomaly.at, anomaly.user_id or anomaly.address or anomaly.operator, anomaly.count)
        for anomaly in anomalies
    ]


async def test_failures_of_an_account_are_an_anomaly_from_the_threshold_on(anomalies: StoredAnomalies) -> None:
    hour = [failed(NOON + number * MINUTE) for number in range(20)]
    few = [failed(NOON + number * MINUTE, user_id=BORIS) for number in range(19)]
    # The clock hour ends between them.
    split = [failed(NOON + 2 * HOUR - 10 * MINUTE + number * MINUTE, user_id=BORIS) for number in range(20)]
    await anomalies.after(*hour, *few, *split)
    assert short(await anomalies.all()) == [("account_failures", NOON, NOON + 19 * MINUTE, ANNA, 20)]
    assert (
        await anomalies.all(Thresholds(account_failures=0, address_failures=0, operator_exports=0, operator_looks=0))
        == []
    )


async def test_counted_failures_belong_to_the_hour_of_the_first(anomalies: StoredAnomalies) -> None:
    singles = [failed(NOON + 50 * MINUTE + number * SECOND) for number in range(3)]
    counted = failed(NOON + HOUR, count=17, since=NOON + 55 * MINUTE)
    await anomalies.after(*singles, counted)
    assert short(await anomalies.all()) == [("account_failures", NOON + 50 * MINUTE, NOON + HOUR, ANNA, 20)]


async def test_failures_from_one_address_are_counted_over_all_accounts_and_unknown_logins(
    anomalies: StoredAnomalies,
) -> None:
    events = [failed(NOON, user_id=new_id(), address="192.0.2.7") for _ in range(30)]
    events += [failed(NOON + SECOND, user_id=None, address="192.0.2.7", count=20)]
    events += [failed(NOON + SECOND, user_id=None, address="192.0.2.8", count=49)]
    # Of IPv6 one household has many addresses.
    events += [failed(NOON + MINUTE, user_id=None, address=f"2001:db8::{number:x}", count=1) for number in range(50)]
    # Nobody knows where these came from; as an account they are none.
    events += [failed(NOON, user_id=None, address=garbage, count=1_000) for garbage in ("", "x", "1.2.3", "::g")]
    await anomalies.after(*events)
    assert short(await anomalies.all()) == [
        ("address_failures", NOON + MINUTE, NOON + MINUTE, "2001:db8::/64", 50),
        ("address_failures", NOON, NOON + SECOND, "192.0.2.7", 50),
    ]


async def test_a_code_that_was_asked_for_is_no_failure(anomalies: StoredAnomalies) -> None:
    event = LoginFailed(user_id=ANNA, reason="code_required", address="192.0.2.7", device="", number=1, count=500)
    await anomalies.after((subjects.login_failures(ANNA), NOON, event))
    assert await anomalies.all() == []


@pytest.mark.parametrize("change", [-HOUR, -MINUTE, timedelta(0), HOUR])
async def test_a_new_network_within_an_hour_of_a_password_change_is_an_anomaly(
    anomalies: StoredAnomalies, change: timedelta
) -> None:
    """Before or after it: a stolen password is used first and changed then, a stolen mailbox the other way round."""
    await anomalies.after(
        login(NOON - 30 * HOUR, "192.0.2.1"),
        login(NOON - HOUR, "192.0.2.99"),
        login(NOON, "198.51.100.1"),
        changed(NOON + change, reason="password_reset"),
    )
    (anomaly,) = await anomalies.all()
    assert (anomaly.rule, anomaly.user_id, anomaly.address) == ("new_network", ANNA, "198.51.100.0/24")
    assert (anomaly.reason, anomaly.count) == ("password_reset", 1)
    assert {anomaly.since, anomaly.at} == {NOON, NOON + change}


async def test_a_known_network_or_a_late_login_or_the_first_one_of_all_is_none(anomalies: StoredAnomalies) -> None:
    clara = new_id()
    await anomalies.after(
        # The first login of an account.
        changed(NOON),
        login(NOON + MINUTE, "192.0.2.1"),
        # From a known network, after the address was recorded in another way, too.
        changed(NOON + 9 * HOUR),
        login(NOON + 9 * HOUR, "192.0.2.0/24"),
        # Too late, and too early.
        login(NOON + 10 * HOUR + SECOND, "198.51.100.1"),
        login(NOON + 8 * HOUR - SECOND, "203.0.113.1"),
        # Of another account.
        login(NOON, "192.0.2.1", BORIS),
        login(NOON + 9 * HOUR, "198.51.100.1", BORIS),
        # From nowhere.
        login(NOON, "192.0.2.1", clara),
        changed(NOON + MINUTE, clara),
        *(login(NOON + MINUTE, garbage, clara) for garbage in ("", "here", "999.1.1.1")),
    )
    assert await anomalies.all() == []


async def test_looks_and_exports_of_one_operator_are_counted_apart(anomalies: StoredAnomalies) -> None:
    account = new_id()
    events = [looked(NOON + number * SECOND) for number in range(3)]
    # Another one, though of the same name.
    events += [looked(NOON + number * SECOND, operator_id=account) for number in range(2)]
    events += [acted(NOON), acted(NOON + MINUTE), acted(NOON, action="archive.import")]
    events += [acted(NOON, name="petr"), acted(NOON + HOUR, name="petr")]
    await anomalies.after(*events)
    assert short(await anomalies.all(LOW)) == [
        ("operator_exports", NOON, NOON + MINUTE, "olga", 2),
        ("operator_looks", NOON, NOON + 2 * SECOND, "olga", 3),
    ]
    assert [anomaly.operator_id for anomaly in await anomalies.all(LOW)] == [None, None]


def expected(happened: Sequence[Happened], thresholds: Thresholds) -> list[tuple[object, ...]]:
    """The reference: the rules applied to the events one by one."""
    counts: Counter[tuple[str, datetime, str]] = Counter()
    logins: dict[str, dict[str, datetime]] = {}
    changes: dict[str, list[datetime]] = {}
    for subject, at, event in happened:
        if isinstance(event, LoginFailed):
            hour = (event.since or at).replace(minute=0, second=0, microsecond=0)
            if event.user_id is not None:
                counts["account_failures", hour, event.user_id] += event.count
            counts["address_failures", hour, str(event.address)] += event.count
        elif isinstance(event, OperatorLooked):
            counts["operator_looks", at.replace(minute=0, second=0, microsecond=0), str(event.operator)] += 1
        elif isinstance(event, SessionCreated):
            networks, network = logins.setdefault(event.user_id, {}), str(event.address)
            networks[network] = min(at, networks.get(network, at))
        elif isinstance(event, PasswordChanged):
            changes.setdefault(subject.rsplit(".", 1)[1], []).append(at)
    rows: list[tuple[object, ...]] = [
        (rule, who, count) for (rule, _, who), count in counts.items() if count >= thresholds.by_rule()[rule]
    ]
    for user_id, networks in logins.items():
        for first in networks.values():
            close = any(abs(at - first) <= HOUR for at in changes.get(user_id, ()))
            if close and first > min(networks.values()):
                rows.append(("new_network", user_id, 1))
    return rows


@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_hold_what_the_rules_say_about_the_events_in_any_order_and_with_any_clock(
    anomalies: StoredAnomalies, seed: int
) -> None:
    chance = random.Random(seed)
    users, addresses = [new_id() for _ in range(4)], [f"192.0.{number}.0/24" for number in range(5)]

    def moment() -> datetime:
        return NOON + timedelta(minutes=chance.randrange(0, 300))

    happened: list[Happened] = []
    for _ in range(200):
        user, address, at = chance.choice(users), chance.choice(addresses), moment()
        happened.append(
            chance.choice(
                (
                    failed(at, user_id=chance.choice((user, None)), address=address, count=chance.choice((1, 1, 2))),
                    login(at, address, user),
                    changed(at, user),
                    looked(at, chance.choice(("olga", "petr"))),
                )
            )
        )
    await anomalies.after(*happened)
    queries, cursor, pages = anomalies.queries(LOW), "", list[Anomaly]()
    while True:
        page = await newest(queries, ALL, limit=3, cursor=cursor)
        pages += page.items
        if page.older is None:
            break
        cursor = page.older
    assert pages == await anomalies.all(LOW)
    assert [anomaly.at for anomaly in pages] == sorted((anomaly.at for anomaly in pages), reverse=True)
    names = Counter(
        (anomaly.rule, anomaly.user_id or anomaly.address or anomaly.operator, anomaly.count) for anomaly in pages
    )
    assert names == Counter(expected(happened, LOW))
    assert {rule for rule, _, _ in names} == set(RULES) - {"operator_exports"}
    middle = pages[len(pages) // 2].at
    newer = await anomalies.all(LOW, AnomalyFilter(since=middle, rules=("account_failures", "new_network")))
    older = await anomalies.all(LOW, AnomalyFilter(until=middle, rules=("account_failures", "new_network")))
    assert newer + older == [anomaly for anomaly in pages if anomaly.rule in ("account_failures", "new_network")]
    counts = await queries.counts(middle)
    assert counts == dict.fromkeys(RULES, 0) | Counter(anomaly.rule for anomaly in pages if anomaly.at >= middle)


async def test_recent_anomalies_are_counted_for_alerts_while_they_can_be_read(
    anomalies: StoredAnomalies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_INTERVAL", 0.01)

    def counted() -> dict[str, float]:
        (family,) = metrics.ANOMALIES.collect()
        return {sample.labels["rule"]: sample.value for sample in family.samples}

    watch = asyncio.create_task(metrics.watch_anomalies(anomalies.queries(), lambda: True))
    try:
        await until(lambda: counted() == {})
        await anomalies.after(failed(now(), count=20), failed(now() - HOUR - MINUTE, user_id=BORIS, count=20))
        await until(lambda: counted() == dict.fromkeys(RULES, 0) | {"account_failures": 1})
    finally:
        watch.cancel()
        metrics.ANOMALIES.clear()


async def test_accounts_have_their_names_as_far_as_these_can_be_read(
    anomalies: StoredAnomalies, streams: Client, database_url: str
) -> None:
    await anomalies.after(
        (subjects.user(ANNA), NOON, UserCreated(username="anna")),
        failed(NOON, count=20),
        failed(NOON, user_id=BORIS, count=20),
    )
    assert [anomaly.username for anomaly in await anomalies.all()] == [None, None]
    await rebuild(Users, streams, database_url)
    assert {anomaly.user_id: anomaly.username for anomaly in await anomalies.all()} == {ANNA: "anna", BORIS: None}


async def test_a_cursor_of_another_kind_is_refused(anomalies: StoredAnomalies) -> None:
    await anomalies.after(failed(NOON))
    row = AnomalyRow(
        rule="new_network",
        id="a\x00",
        at=NOON,
        since=NOON,
        user_id=None,
        address=None,
        operator=None,
        operator_id=None,
        count=1,
        reason=None,
    )
    for cursor in ("x", "e30", encode_cursor(row)):
        with pytest.raises(Invalid):
            await newest(anomalies.queries(), ALL, limit=1, cursor=cursor)
