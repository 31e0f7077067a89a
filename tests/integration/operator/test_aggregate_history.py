"""One aggregate in time: each version's event and state, by version and by time, as a fold of its events has them."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.events.data_export import DataExportFailed, DataExportRequested
from contracts.events.data_keys import DataKeysCreated, DataKeysDestroyed
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.login_failure import LoginFailed
from contracts.events.message import (
    FOREVER,
    ConversationUpdated,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    NotificationRead,
    ReactionChanged,
)
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.session import AccountAlerted, SessionCreated, SessionRefreshed
from contracts.events.user import CredentialSet, PasswordChanged, UserCreated, UserEmailVerified
from contracts.personal_data.key_ids import person_key
from contracts.subjects import MESSAGING
from contracts.values.ids import new_id
from infra.history.event_history import SKEW
from infra.operator_errors import OperatorError
from services.operator.history.aggregate_history import AggregateHistory, AggregateVersion, NoSuchVersion
from services.operator.history.aggregate_kinds import KINDS
from streams.jetstream.api import JetStream
from streams.log import Append, Log
from streams.loss.missing_events import Gap, accept
from streams.message import Message
from streams.persistence import history_recorder
from tests.integration.streams.conftest import sent

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
ANNA, BORIS = new_id(), new_id()
MESSAGE: dict[str, Any] = {
    "message_id": new_id(),
    "conversation_id": "c",
    "sequence": 1,
    "sender_id": ANNA,
    "sent_at": BEGIN,
    "members": (ANNA, BORIS),
}


async def append(
    client: Client,
    kind: str,
    aggregate_id: str,
    events: Sequence[Event],
    times: Sequence[datetime] = (),
    *,
    begun: int = 0,
) -> None:
    """Appends events as versions after `begun`; each a second after the one before it unless times are given."""
    log, subject = Log(client), KINDS[kind].subject_of(aggregate_id)
    times = times or [BEGIN + timedelta(seconds=number) for number in range(len(events))]
    expected = await log.last_sequence(subject)
    for begin in range(0, len(events), 1_000):
        part = zip(events[begin : begin + 1_000], times[begin : begin + 1_000], strict=True)
        appends = [
            Append(
                subject=subject,
                expected=expected,
                envelope=seal(event, aggregate_id=aggregate_id, version=version, provenance=Provenance(), at=at),
            )
            for version, (event, at) in enumerate(part, begun + begin + 1)
        ]
        expected = (await log.append_together(appends))[-1]


def history(client: Client, kind: str, aggregate_id: str) -> AggregateHistory:
    return AggregateHistory(KINDS[kind], aggregate_id, client, asyncio.get_running_loop())


async def versions(
    of: AggregateHistory, *, last: int = 20, redacted: bool = False, version: int | None = None
) -> list[AggregateVersion]:
    return await asyncio.to_thread(lambda: list(of.versions(last=last, redacted=redacted, version=version)))


DATA_EXPORT: dict[str, object] = {
    "export_id": "e",
    "requested_at": "2026-01-31T12:00:00Z",
    "file": None,
    "failure": None,
    "downloaded_by": (),
}
# By kind: its events, and part of the state after each of them.
EXAMPLES: dict[str, tuple[list[Event], list[dict[str, object]]]] = {
    "user": (
        [UserCreated(username="anna"), UserEmailVerified()],
        [{"email_verified": False}, {"email_verified": True}],
    ),
    "credential": (
        [CredentialSet(password_hash="h1"), PasswordChanged(password_hash="h2", generation=2, reason="password_reset")],
        [{"generation": 1}, {"generation": 2, "changed_by": "password_reset"}],
    ),
    "login_failures": (
        [
            LoginFailed(user_id=ANNA, reason="wrong_password", address="a", device="d", number=number)
            for number in (1, 2)
        ],
        [{"number": 1}, {"number": 2}],
    ),
    "data_export": (
        [DataExportRequested(export_id="e"), DataExportFailed(export_id="e", reason="too_large")],
        [
            {"recent": (DATA_EXPORT,)},
            {"recent": (DATA_EXPORT | {"failure": "too_large"},)},
        ],
    ),
    "data_keys": (
        [
            DataKeysCreated(key_ids=(person_key(BORIS), person_key(ANNA))),
            DataKeysDestroyed(key_ids=(person_key(ANNA),), reason="loss_accepted"),
        ],
        [
            {"created": [person_key(ANNA), person_key(BORIS)], "destroyed": []},
            {"destroyed": [person_key(ANNA)], "all_destroyed": False},
        ],
    ),
    "session": (
        [
            SessionCreated(user_id=ANNA, username="anna", device="d", address="a", expires_at=BEGIN),
            SessionRefreshed(user_id=ANNA, generation=2, expires_at=BEGIN),
        ],
        [{"generation": 1}, {"generation": 2, "revoked": False}],
    ),
    "alerts": ([AccountAlerted(user_id=ANNA, kind="new_device", about="e")], [{}]),
    "profile": (
        [ProfileCreated(username="anna", display_name="Anna"), ProfileUpdated(display_name="Ann", bio="b")],
        [{"display_name": "Anna"}, {"display_name": "Ann", "username": "anna"}],
    ),
    "friendship": (
        [
            FriendshipCreated(requester_id=ANNA, addressee_id=BORIS),
            FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS),
            FriendshipRemoved(remover_id=BORIS, other_id=ANNA),
        ],
        [{"status": "requested"}, {"status": "accepted"}, {"status": "removed"}],
    ),
    "conversation": ([sent(1), sent(2)], [{"last_sequence": 1}, {"last_sequence": 2}]),
    "message": (
        [
            MessageEdited(text="typo gone", **MESSAGE),
            ReactionChanged(user_id=BORIS, emoji="👍", **MESSAGE),
            MessageDeleted(**MESSAGE),
        ],
        [
            {"text": "typo gone", "deleted": False},
            {"text": "typo gone", "deleted": False},
            {"text": None, "edited_at": None, "deleted": True},
        ],
    ),
    "read": (
        [MessageSeen(conversation_id="c", reader_id=ANNA, peer_id=BORIS, sequence=seen) for seen in (3, 7)],
        [{"sequence": 3}, {"sequence": 7}],
    ),
    "settings": (
        [
            ConversationUpdated(conversation_id="c", user_id=ANNA, members=(ANNA, BORIS), pinned=True),
            ConversationUpdated(conversation_id="c", user_id=ANNA, members=(ANNA, BORIS), muted_until=FOREVER),
        ],
        [{"pinned": True, "muted_until": None}, {"pinned": False, "archived": False}],
    ),
    "notifications": ([NotificationRead(notification_ids=("n",))], [{}]),
}


def test_each_kind_is_tried() -> None:
    assert EXAMPLES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
async def test_each_kind_shows_its_events_and_its_state_after_each(streams: Client, kind: str) -> None:
    events, states = EXAMPLES[kind]
    aggregate_id = f"{new_id()}.{ANNA}" if kind in ("read", "settings") else new_id()
    await append(streams, kind, aggregate_id, events)
    aggregate_versions = await versions(history(streams, kind, aggregate_id))
    assert [entry.event.type for entry in aggregate_versions] == [event.TYPE for event in events]
    assert [entry.event.version for entry in aggregate_versions] == list(range(1, len(events) + 1))
    for entry, state in zip(aggregate_versions, states, strict=True):
        assert entry.state is not None
        assert entry.state.items() >= state.items()
    assert [entry.expired_at for entry in aggregate_versions][:-1] == [None] * (len(aggregate_versions) - 1)
    assert (aggregate_versions[-1].expired_at == BEGIN) == (kind == "session")
    if kind == "credential":
        assert not any(secret in str(aggregate_versions) for secret in ("h1", "h2"))


times = st.lists(st.tuples(st.integers(0, 200), st.integers(-60, 60)), min_size=1, max_size=12)


@pytest.mark.parametrize("page", [3, 200], ids=["searched", "read-whole"])
@pytest.mark.parametrize("kind", ["conversation", "profile"])
async def test_any_version_and_any_time_show_what_a_fold_of_the_events_has(
    streams: Client, kind: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_recorder, "_PAGE", page)
    loop = asyncio.get_running_loop()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(clocks=times, asked=st.integers(-100, 3_000), last=st.integers(1, 14), data=st.data())
    def check(clocks: list[tuple[int, int]], asked: int, last: int, data: st.DataObject) -> None:
        aggregate_id = new_id()
        # What happens is in order; the clocks of the processes that decided it differ.
        at = [
            BEGIN + timedelta(seconds=sum(step for step, _ in clocks[: number + 1]) + skew)
            for number, (_, skew) in enumerate(clocks)
        ]
        events: list[Event] = [
            sent(number) if kind == "conversation" else ProfileUpdated(display_name=f"{number}")
            for number in range(1, len(at) + 1)
        ]
        asyncio.run_coroutine_threadsafe(append(streams, kind, aggregate_id, events, at), loop).result()
        of = AggregateHistory(KINDS[kind], aggregate_id, streams, loop)
        folded, state = [], KINDS[kind].initial
        for event, moment in zip(events, at, strict=True):
            state = KINDS[kind].evolve(state, event, moment)
            folded.append(state.last_sequence if kind == "conversation" else state.display_name)
        name = "last_sequence" if kind == "conversation" else "display_name"

        def shown(entries: Iterable[AggregateVersion]) -> list[tuple[int, object]]:
            return [(entry.event.version, (entry.state or {})[name]) for entry in entries]

        def expected(until: int) -> list[tuple[int, object]]:
            return list(enumerate(folded, 1))[max(until - last, 0) : until]

        version = data.draw(st.integers(1, len(at)))
        assert shown(of.versions(version=version, last=last, redacted=False)) == expected(version)
        moment = BEGIN + timedelta(seconds=asked)
        until = next((number for number, instant in enumerate(at) if instant > moment), len(at))
        if until:
            assert shown(of.versions(at=moment, last=last, redacted=False)) == expected(until)
        else:
            with pytest.raises(NoSuchVersion, match="yet"):
                list(of.versions(at=moment, last=last, redacted=False))

    await asyncio.to_thread(check)


def test_the_clocks_of_the_property_differ_by_what_is_allowed() -> None:
    assert timedelta(seconds=60) == SKEW


async def test_a_few_versions_of_a_long_conversation_are_read_without_the_rest(
    streams: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(streams, "conversation", "long", [sent(number) for number in range(1, 3_001)])
    read: list[int] = []
    whole = Log.read

    async def counted(log: Log, subject: str, *, after: int = 0, limit: int | None = None) -> list[Message]:
        messages = await whole(log, subject, after=after, limit=limit)
        read.append(len(messages))
        return messages

    monkeypatch.setattr(Log, "read", counted)
    aggregate_versions = await versions(history(streams, "conversation", "long"), version=2_000, last=3)
    assert [(entry.event.version, entry.state) for entry in aggregate_versions] == [
        (version, {"last_sequence": version}) for version in (1_998, 1_999, 2_000)
    ]
    assert sum(read) < 300
    everything = await versions(history(streams, "conversation", "long"), last=10_000)
    assert [entry.event.version for entry in everything] == list(range(1, 3_001))
    assert max(read) <= 200


async def test_a_moment_within_a_burst_is_found(streams: Client) -> None:
    times = [BEGIN + timedelta(milliseconds=10 * number) for number in range(2_500)]
    await append(streams, "conversation", "burst", [sent(number) for number in range(1, 2_501)], times)
    of = history(streams, "conversation", "burst")
    assert await asyncio.to_thread(of.version_at, BEGIN + timedelta(seconds=20)) == 2_001
    assert await asyncio.to_thread(of.version_at, BEGIN + timedelta(hours=1)) == 2_500


async def test_what_is_appended_meanwhile_is_not_shown(streams: Client) -> None:
    await append(streams, "conversation", "busy", [sent(number) for number in range(1, 601)])
    of = history(streams, "conversation", "busy")
    reading = of.versions(last=10_000, redacted=False)
    first = await asyncio.to_thread(next, reading)
    await append(streams, "conversation", "busy", [sent(number) for number in range(601, 1_001)], begun=600)
    rest = await asyncio.to_thread(list, reading)
    assert [entry.event.version for entry in (first, *rest)] == list(range(1, 601))


async def test_what_is_not_there_is_said(streams: Client) -> None:
    await append(streams, "friendship", "two", EXAMPLES["friendship"][0])
    with pytest.raises(NoSuchVersion, match="3 versions: there is no 4"):
        await versions(history(streams, "friendship", "two"), version=4)
    with pytest.raises(NoSuchVersion, match="no such aggregate: friendship other"):
        await versions(history(streams, "friendship", "other"))


async def test_lost_versions_are_said_and_so_is_a_loss_that_an_operator_accepted(streams: Client) -> None:
    # No test can delete from a stream of events: other events are where the lost ones were.
    await append(streams, "conversation", "torn", [sent(1)])
    await append(streams, "conversation", "other", [sent(1), sent(2)])
    await append(streams, "conversation", "torn", [sent(4), sent(5)], begun=3)
    aggregate_versions = await versions(history(streams, "conversation", "torn"))
    assert [(entry.event.version, entry.missing, entry.lost_before) for entry in aggregate_versions] == [
        (1, None, []),
        (4, "2-3", []),
        (5, None, []),
    ]
    await accept(JetStream(streams), [Gap(MESSAGING, 2, 3)], "ops")
    aggregate_versions = await versions(history(streams, "conversation", "torn"), last=2)
    assert [(entry.event.version, entry.missing, entry.lost_before) for entry in aggregate_versions] == [
        (4, "3", ["MESSAGING:2-3"]),
        (5, None, []),
    ]
    with pytest.raises(NoSuchVersion, match="lost"):
        await versions(history(streams, "conversation", "torn"), version=3, last=2)


async def test_an_event_that_this_release_cannot_read_makes_the_state_unknown(streams: Client) -> None:
    class Unknown(ProfileUpdated, frozen=True, kw_only=True):
        TYPE = "profile.painted"

    events = [
        ProfileCreated(username="anna", display_name="A"),
        Unknown(display_name="B"),
        ProfileUpdated(display_name="C"),
    ]
    await append(streams, "profile", "odd", events)
    aggregate_versions = await versions(history(streams, "profile", "odd"))
    assert [entry.state is None for entry in aggregate_versions] == [False, True, True]
    assert "profile.painted" in (aggregate_versions[1].error or "")
    assert (await versions(history(streams, "profile", "odd"), last=1))[0].state is None


async def test_what_is_no_event_at_all_is_an_error_of_one_line(streams: Client) -> None:
    await append(streams, "conversation", "spoilt", [sent(1)])
    await streams.jetstream().publish("vestnik.messaging.conversation.spoilt", b"{}")
    with pytest.raises(OperatorError, match="cannot be read"):
        await versions(history(streams, "conversation", "spoilt"))


async def test_an_operator_sees_no_text_and_no_name(streams: Client) -> None:
    await append(streams, "profile", "masked", EXAMPLES["profile"][0])
    shown = str(await versions(history(streams, "profile", "masked"), redacted=True))
    assert "Ann" not in shown
    assert "•••" in shown


def test_message_sent_is_all_that_a_conversation_has() -> None:
    assert KINDS["conversation"].aggregate_type.events == (MessageSent,)
