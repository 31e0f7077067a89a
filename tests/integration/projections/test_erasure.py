"""What an erasure leaves in the read models: the same rows live, rebuilt, and read without the keys of the user."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from nats.aio.client import Client

from contracts import subjects
from contracts.errors import UserNotFound
from contracts.events.event import Event
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated
from contracts.events.login_failure import LoginFailed
from contracts.events.message import MessageDeleted, MessageEdited, MessageSeen, MessageSent, ReactionChanged
from contracts.events.operator import OperatorLooked
from contracts.events.profile import ProfileCreated, ProfileUpdated
from contracts.events.report import ReportFiled, ReportSettled
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.events.user import (
    AddressState,
    EmailRegistrationRequested,
    EmailVerified,
    PendingRegistration,
    UserCreated,
    UserEmailVerified,
    UserErased,
    UserErasureCompleted,
)
from contracts.personal_data.keys_of_fields import KEY_OF
from contracts.positions import Position
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id, pair_id
from contracts.values.personal_data import Sealed
from projections.engine import Projection
from projections.engine.erasing import ERASED, ErasingProjection
from projections.engine.inspection.verify import verify
from projections.registry import catalogue
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.fields import PersonalField, changed
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.reading import unseal_with
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.topology import ensure_bucket
from tests.fix_postgres import Pool
from tests.fix_read_models import aggregate_id_of, opened, subject_of
from tests.integration.projections.event_writer import PATIENCE, Opened, Writer
from tests.integration.recorded_keys import Recorded, Ring

SOON = datetime(2027, 1, 1, tzinfo=UTC)
ANNA, BORIS, CLARA = new_id(), new_id(), new_id()
PAIR = pair_id(ANNA, BORIS)
# What events of Anna contain of her, in every read model, and must not be left.
HER_TEXTS = ("anna", "Anna", "secret", "10.1.2.3", "🌵", "her phone")
# An event, and the id of its aggregate where that is not in its data.
Story = Sequence[tuple[Event, str | None]]
ERASURE: Story = ((UserErased(reason="requested"), ANNA), (UserErasureCompleted(), ANNA))

_TIME = re.compile(r'"\d{4}-\d\d-\d\dT[^"]*"|"(stream_|updated_|changed_|settings_|email_)?sequence": \d+')

_session, _report, _other_session, _third_session = new_id(), new_id(), new_id(), new_id()
_message_ids = [new_id() for _ in range(6)]


def registered(user_id: str, name: str) -> Story:
    pending = PendingRegistration(user_id=user_id, email=f"{name}@example.org", username=name, expires_at=SOON)
    address = AddressState(owner=user_id, email=f"{name}@example.org", username=name)
    claim = new_id()
    return (
        (EmailRegistrationRequested(user_id=user_id, address=AddressState(pending=(pending,))), claim),
        (UserCreated(username=name, display_name=name.title()), user_id),
        (ProfileCreated(username=name, display_name=name.title()), user_id),
        (EmailVerified(user_id=user_id, address=address), claim),
        (UserEmailVerified(), user_id),
        (ProfileUpdated(display_name=f"{name.title()} the second", bio=f"{name}'s tale", avatar_url=name), user_id),
    )


def said(sequence: int, sender: str, text: str) -> MessageSent:
    return MessageSent(
        message_id=_message_ids[sequence],
        sender_id=sender,
        recipient_id=BORIS if sender == ANNA else ANNA,
        sequence=sequence,
        text=text,
        client_message_id=str(sequence),
    )


def message_fields(sequence: int, sender: str) -> dict[str, object]:
    return {
        "message_id": _message_ids[sequence],
        "conversation_id": PAIR,
        "sequence": sequence,
        "sender_id": sender,
        "sent_at": datetime(2026, 1, 31, tzinfo=UTC),
        "members": (ANNA, BORIS),
    }


TALK: Story = tuple(
    (event, None)
    for event in (
        FriendshipCreated(requester_id=ANNA, addressee_id=BORIS),
        FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS),
        FriendshipCreated(requester_id=CLARA, addressee_id=ANNA),
        said(1, ANNA, "a secret of Anna"),
        said(2, BORIS, "his words"),
        said(3, ANNA, "one more secret"),
        MessageEdited(text="a changed secret", **message_fields(3, ANNA)),  # type: ignore[arg-type]
        said(4, ANNA, "secret"),
        MessageDeleted(**message_fields(4, ANNA)),  # type: ignore[arg-type]
        ReactionChanged(user_id=ANNA, emoji="🌵", **message_fields(2, BORIS)),  # type: ignore[arg-type]
        ReactionChanged(user_id=BORIS, emoji="👍", **message_fields(1, ANNA)),  # type: ignore[arg-type]
        MessageSeen(conversation_id=PAIR, reader_id=BORIS, peer_id=ANNA, sequence=3),
        said(5, ANNA, "the last secret"),
    )
)


def failed(user_id: str | None, address: str, device: str) -> LoginFailed:
    return LoginFailed(user_id=user_id, reason="wrong_password", address=address, device=device, number=1)


LOGINS: Story = (
    (
        SessionCreated(
            user_id=ANNA,
            username="anna",
            device="her phone",
            address="10.1.2.3",
            expires_at=SOON,
            origin_until=SOON + timedelta(days=400),
        ),
        _third_session,
    ),
    (
        msgspec.structs.replace(failed(ANNA, "10.1.2.3", "her phone"), origin_until=SOON + timedelta(days=400)),
        None,
    ),
    (SessionCreated(user_id=ANNA, username="anna", device="her phone", address="10.1.2.3", expires_at=SOON), _session),
    (SessionCreated(user_id=BORIS, username="boris", device="", address="10.9.9.9", expires_at=SOON), _other_session),
    (SessionRefreshed(user_id=ANNA, generation=2, expires_at=SOON), _session),
    (SessionRevoked(user_id=ANNA, reason="operator", note="Anna called"), _session),
    (failed(ANNA, "10.1.2.3", "her phone"), None),
    (failed(BORIS, "10.9.9.9", "his phone"), None),
    (failed(None, "10.9.9.9", "no phone"), None),
    (
        OperatorLooked(
            operator="anna",
            operator_id=ANNA,
            address="10.1.2.3",
            what="login_audit",
            channel="page",
            filter={"user": "Anna"},
        ),
        None,
    ),
    (OperatorLooked(operator="boris", operator_id=BORIS, address="", what="login_audit", channel="page"), None),
)
REPORTS: Story = (
    (ReportFiled(reporter_id=BORIS, reported_id=CLARA, reason="spam"), _report),
    (ReportSettled(operator="anna", operator_id=ANNA, outcome="dismissed", note="secret"), _report),
)
STORY: Story = (*registered(ANNA, "anna"), *registered(BORIS, "boris"), *LOGINS, *TALK, *REPORTS)


def without_keys(event: Event, of: str | None) -> Event:
    """The event as a reader gets it once Anna's keys are destroyed."""
    aggregate_id = of if of is not None else aggregate_id_of(event, subject_of(event, of))

    def read(value: str | Sealed, field: PersonalField, container: object) -> str | Sealed | None:
        if KEY_OF[field.name].owner(container, aggregate_id) != ANNA:  # type: ignore[arg-type]
            return value
        return None if field.optional else ""

    return changed(event, read)


def seen_by(projection: type[Projection], story: Story) -> Story:
    """The events of the story that the projection handles."""
    return [(event, of) for event, of in story if event.TYPE in projection().handlers()]


async def rows_after(projection: type[Projection], database_url: str, story: Story) -> dict[str, list[str]]:
    """The rows by table; the harness has compared them with those of replays in other orders."""
    async with opened(projection, database_url) as model:
        for event, of in story:
            await model.when(event, of=of)
        names = [name for name in projection.table_names() if name != ERASED]
        # The id of an event differs from run to run.
        columns = "to_jsonb(t) - 'registration_id' - 'at'"
        rows = {name: await model.rows(f"SELECT ({columns})::text FROM {{{name}}} AS t") for name in names}
    return {name: sorted(str(row) for (row,) in table_rows) for name, table_rows in rows.items()}


ERASING = [projection for projection in catalogue().values() if issubclass(projection, ErasingProjection)]


@pytest.mark.parametrize("projection", ERASING, ids=lambda projection: projection.name)
async def test_nothing_is_left_of_an_erased_user_at_whatever_time_the_other_events_come(
    projection: type[ErasingProjection], database_url: str
) -> None:
    story = seen_by(projection, STORY)
    plain = await rows_after(projection, database_url, story)
    assert not projection.erasures or any(text in str(plain) for text in HER_TEXTS)
    unreadable = await rows_after(projection, database_url, [(without_keys(event, of), of) for event, of in story])
    assert [text for text in HER_TEXTS if text in str(unreadable)] == []
    for before in (0, len(story) // 3, len(story) // 2, len(story) - 1, len(story)):
        live = await rows_after(projection, database_url, [*story[:before], *ERASURE, *story[before:]])
        assert _without_times(live) == _without_times(unreadable), f"erased after {before} events"


@pytest.mark.parametrize("projection", ERASING, ids=lambda projection: projection.name)
async def test_an_erasure_that_is_repeated_writes_no_row(
    projection: type[ErasingProjection], database_url: str
) -> None:
    async with opened(projection, database_url) as model:
        for event, of in (*seen_by(projection, STORY), ERASURE[0]):
            await model.when(event, of=of)
        for statement in projection.erasures:
            repeated = statement.replace("%(users)s", f"ARRAY['{ANNA}']::uuid[]")
            assert await model.rows(f"{repeated} RETURNING *") == []


def _without_times(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    """The rows without times and sequences, which the events of the erasure have moved."""
    return {name: sorted(_TIME.sub("", row) for row in table_rows) for name, table_rows in rows.items()}


@pytest.mark.parametrize("erased_after", [0.3, 1.0])
async def test_sealed_events_lead_to_the_same_rows_live_and_rebuilt_once_the_keys_are_destroyed(
    erased_after: float, streams: Client, writer: Writer, run: Opened, pool: Pool, database_url: str
) -> None:
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    store, ring = KeyStore(streams), Ring()
    sealer = Sealer(DataKeys(store, ring), KeyCreation(store, ring, Recorded()).create)
    unseal_with(streams, Unsealer(DataKeys(store, ring)))
    runners = await run(*ERASING)
    ends: dict[str, int] = {}

    async def happen(story: Story) -> None:
        for event, of in story:
            subject = subject_of(event, of)
            aggregate_id = aggregate_id_of(event, subject)
            # A destroyed key seals nothing: the services refuse, and old events in plain form stay.
            with suppress(UserNotFound):
                [event] = await sealer.seal([event], aggregate_id=aggregate_id, at=datetime.now(UTC))
            ends[subjects.stream_of(subject)] = await writer.append(subject, event)
        for projection in ERASING:
            await runners.waiting.wait(projection, Position(ends), PATIENCE)

    count = int(len(STORY) * erased_after)
    await happen(STORY[:count])
    await happen(ERASURE[:1])
    # Until its end the key of the erased user is in caches, and read with.
    await happen(STORY[count:])
    await KeyDestruction(store).destroy_person(ANNA)
    await happen(ERASURE[1:])
    unseal_with(streams, Unsealer(DataKeys(store, ring)))
    async with pool.connection() as conn:
        for projection in ERASING:
            verdict = await verify(projection, streams, database_url)
            assert verdict.differences == []
            assert (verdict.equal, verdict.dead_letters) == (True, 0)
            for name in projection.table_names():
                cursor = await conn.execute(f"SELECT t::text FROM {projection.view(name)} AS t".encode())
                rows = str(await cursor.fetchall())
                assert [text for text in HER_TEXTS if text in rows] == [], name
