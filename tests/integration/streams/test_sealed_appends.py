"""What a connection with keys appends is stored sealed, however it was appended, and its callers see plain text."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from nats.aio.client import Client

from contracts.envelope import Provenance, seal
from contracts.errors import KeysUnavailable, MessageNotFound, UserNotFound
from contracts.events.event import Event
from contracts.events.message import MessageEdited, MessageSent
from contracts.events.profile import ProfileUpdated
from contracts.events.user import AddressState, EmailRegistrationRequested, PendingRegistration, UserCreated
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import AUTH, DATA_KEYS, MESSAGING, conversation, email_claim, message, profile, user
from contracts.values.ids import new_id
from infra.embedded.nats_server import NatsServer
from services.messaging.domain import Conversation, evolve_conversation
from streams.jetstream.api import JetStream
from streams.log import Append, Log
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.reading import unseal_with
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from streams.personal_data.writing import seal_with
from streams.repository import Repository
from streams.topology import ensure_bucket
from tests.integration.recorded_keys import RING, Recorded

AT = datetime(2026, 12, 1, tzinfo=UTC)
TEXT = "what nobody else may read"
ANNA, BORIS = new_id(), new_id()


@pytest.fixture
async def store(streams: Client) -> KeyStore:
    """The store of keys; the connection `streams` seals and unseals with them."""
    await ensure_bucket(streams, DATA_KEYS, replicas=1)
    store = KeyStore(streams, patience=60)
    wire(streams, store)
    return store


def wire(nats: Client, store: KeyStore, recorded: Recorded | None = None) -> None:
    """Wires sealing and unsealing as for a process without cached keys."""
    keys = DataKeys(store, RING)
    seal_with(nats, Sealer(keys, KeyCreation(store, RING, recorded or Recorded()).create))
    unseal_with(nats, Unsealer(keys))


def appended(subject: str, aggregate_id: str, event: Event, *, version: int = 1, expected: int = 0) -> Append:
    envelope = seal(event, aggregate_id=aggregate_id, version=version, provenance=Provenance(), at=AT)
    return Append(subject=subject, expected=expected, envelope=envelope)


def sent(sequence: int, text: str = TEXT) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=ANNA, recipient_id=BORIS, sequence=sequence, text=text, client_message_id="c"
    )


async def payloads(nats: Client, stream: str) -> list[bytes]:
    """All messages of the stream as they are stored."""
    jetstream = JetStream(nats)
    last = await jetstream.last_sequence(stream)
    assert last is not None
    messages = [await jetstream.at(stream, sequence) for sequence in range(1, last + 1)]
    return [stored.payload for stored in messages if stored is not None]


async def test_single_appends_group_commits_and_batches_are_stored_sealed(streams: Client, store: KeyStore) -> None:
    log = Log(streams)
    single = new_id()
    await log.append(appended(profile(single), single, ProfileUpdated(display_name=TEXT, bio="")))
    conversations = [new_id() for _ in range(64)]
    await asyncio.gather(
        *(
            log.append(appended(conversation(conversation_id), conversation_id, sent(1)))
            for conversation_id in conversations
        ),
        log.append_together(
            [
                appended(conversation(conversation_id), conversation_id, sent(1))
                for conversation_id in (new_id() for _ in range(3))
            ],
        ),
    )
    stored = await payloads(streams, MESSAGING)
    assert len(stored) == 67
    assert all(TEXT.encode() not in payload and b'"ciphertext"' in payload for payload in stored)
    for conversation_id in conversations[:3]:
        [read] = await log.read(conversation(conversation_id))
        assert isinstance(event := read.open().data, MessageSent)
        assert event.text == TEXT


async def test_what_a_repository_returns_and_remembers_is_plain(streams: Client, store: KeyStore) -> None:
    repository = Repository(
        Log(streams), subject=conversation, initial=Conversation(), evolve=evolve_conversation, tail_only=True
    )
    aggregate_id = new_id()
    for _ in range(2):
        done = await repository.execute(aggregate_id, lambda state: [sent(state.last_sequence + 1)], Provenance())
        [recorded] = done.events
        assert isinstance(recorded.data, MessageSent)
        assert recorded.data.text == TEXT
    assert all(TEXT.encode() not in payload for payload in await payloads(streams, MESSAGING))


async def test_a_batch_of_several_aggregates_creates_its_keys_together_and_before(
    streams: Client, store: KeyStore
) -> None:
    newcomer, address = new_id(), "ab"
    created: list[list[str]] = []
    keys = DataKeys(store, RING)
    creation = KeyCreation(store, RING, Recorded())

    async def create(key_ids: Collection[str]) -> None:
        created.append(sorted(key_ids))
        await creation.create(created[-1])

    seal_with(streams, Sealer(keys, create))
    pending = PendingRegistration(user_id=newcomer, email="n@example.org", username="newcomer", expires_at=AT)
    state = AddressState(owner=ANNA, email="a@example.org", username="anna", pending=(pending,))
    await Log(streams).append_together(
        [
            appended(email_claim(address), address, EmailRegistrationRequested(user_id=newcomer, address=state)),
            appended(user(newcomer), newcomer, UserCreated(username="newcomer")),
        ]
    )
    assert created == [sorted([person_key(ANNA), person_key(newcomer)])]
    stored = b"".join(await payloads(streams, AUTH))
    assert not any(text in stored for text in (b"example.org", b"anna", b'"newcomer"'))


async def test_a_destroyed_key_refuses_what_is_new_and_empties_what_a_state_carries_along(
    streams: Client, store: KeyStore
) -> None:
    log, aggregate_id, month = Log(streams), new_id(), new_id()
    await log.append(appended(conversation(month), month, sent(1)))
    await KeyDestruction(store).destroy(text_key(month, ANNA, AT))
    wire(streams, store)
    edited = MessageEdited(
        message_id="m",
        conversation_id=month,
        sequence=1,
        sender_id=ANNA,
        sent_at=AT,
        members=(ANNA, BORIS),
        text="other",
    )
    with pytest.raises(MessageNotFound):
        await log.append(appended(message("m"), "m", edited))
    await KeyDestruction(store).destroy_person(ANNA)
    wire(streams, store)
    before = len(await payloads(streams, MESSAGING))
    with pytest.raises(UserNotFound):
        await log.append(appended(conversation(aggregate_id), aggregate_id, sent(1)))
    with pytest.raises(UserNotFound):
        await log.append(appended(profile(ANNA), ANNA, ProfileUpdated(display_name="Anna")))
    assert len(await payloads(streams, MESSAGING)) == before
    # Of others too: a registration at an address that an erased person once wanted.
    gone = PendingRegistration(user_id=ANNA, email="a@example.org", username="anna", expires_at=AT)
    new = PendingRegistration(user_id=BORIS, email="a@example.org", username="boris", expires_at=AT)
    state = AddressState(pending=(gone, new))
    await log.append(appended(email_claim("cd"), "cd", EmailRegistrationRequested(user_id=BORIS, address=state)))
    [read] = await log.read(email_claim("cd"))
    event = read.open().data
    assert isinstance(event, EmailRegistrationRequested)
    assert [(registration.email, registration.username) for registration in event.address.pending] == [
        ("", ""),
        ("a@example.org", "boris"),
    ]


async def test_without_the_store_nothing_new_is_stored_and_cached_keys_go_on(streams: Client, store: KeyStore) -> None:
    log, known, new = Log(streams), new_id(), new_id()
    stored = await log.append(appended(conversation(known), known, sent(1)))
    await streams.jetstream().delete_stream("KV_data_keys")
    sequence = await log.append(appended(conversation(known), known, sent(2), version=2, expected=stored))
    with pytest.raises(KeysUnavailable):
        await log.append(appended(conversation(new), new, sent(1)))
    assert await log.last_sequence(conversation(new)) == 0
    assert sequence > stored


async def test_while_nats_is_away_nothing_is_promised(
    streams: Client, store: KeyStore, nats_server: NatsServer
) -> None:
    aggregate_id = new_id()
    wire(streams, KeyStore(streams, patience=0.2))
    await nats_server.stop()
    with pytest.raises(KeysUnavailable):
        await Log(streams).append(appended(conversation(aggregate_id), aggregate_id, sent(1)))


async def test_a_send_with_a_cached_key_does_not_suspend_the_task(streams: Client, store: KeyStore) -> None:
    keys = DataKeys(store, RING)
    sealer = Sealer(keys, KeyCreation(store, RING, Recorded()).create)
    envelope = appended(conversation("c"), new_id(), sent(1)).envelope
    await sealer.seal_envelopes([envelope])
    sealing = sealer.seal_envelopes([envelope])
    with pytest.raises(StopIteration) as done:
        sealing.send(None)
    assert TEXT.encode() not in bytes(done.value.value[0].data)
