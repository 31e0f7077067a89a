"""Sealed events, written with the rights of their owners."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client

from contracts.envelope import Provenance, now, seal
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import STREAMS, conversation, stream_of
from contracts.values.ids import pair_id
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.auth.data_keys.rings import RecordedKeys
from streams.log import Append, Log
from streams.message import Message
from streams.personal_data import cipher
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyRecord, KeyStore
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.reading import unseal_with
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer
from tests.e2e.people import Api
from tests.e2e.poison import connected


class Keys:
    """The key store with the rights of auth."""

    def __init__(self, api: Api, auth: Client) -> None:
        self._api = api
        self._master_keys = Secrets.load(api.system.data_dir / "secrets").personal_data_keys(KeyTerms.of(Settings()))
        self._store = KeyStore(auth)
        self.data_keys = DataKeys(self._store, self._master_keys)
        creation = KeyCreation(self._store, self._master_keys, RecordedKeys(Log(auth)))
        self._sealer = Sealer(self.data_keys, creation.create)

    async def append(self, subject: str, aggregate_id: str, event: Event) -> Message:
        """Appends the event sealed; returns it as it is stored."""
        at = now()
        (sealed,) = await self._sealer.seal([event], aggregate_id=aggregate_id, at=at)
        assert sealed is not event
        return await _append(self._api, subject, aggregate_id, sealed, at)

    async def append_before_its_key(self, sent: MessageSent) -> Callable[[], Awaitable[None]]:
        """Appends the message sealed with a key that the store does not have; returns what stores the key."""
        at, conversation_id = now(), pair_id(sent.sender_id, sent.recipient_id)
        # Of an earlier month: that of the current one is created when the two become friends.
        text_id = text_key(conversation_id, sent.sender_id, at - timedelta(days=62))
        person_id = person_key(sent.sender_id)
        person, text = (await self.data_keys.find([person_id]))[person_id], cipher.new_key()
        assert person is not None
        record = KeyRecord.of(kek=person_id, wrapped=cipher.wrap(person, person_id, text_id, text))
        field: Any = cipher.seal(AESGCM(text), text_id, f"{sent.TYPE}/text", sent.text)
        sealed = msgspec.structs.replace(sent, text=field)
        await _append(self._api, conversation(conversation_id), conversation_id, sealed, at)

        async def store() -> None:
            await self._store.put(text_id, record, revision=0)

        return store

    async def destroy(self, key_id: str) -> None:
        """Leaves the sign of a destruction in place of the key."""
        stored = await self._store.latest(key_id)
        assert stored is not None
        await self._store.put(key_id, KeyRecord.tombstone(datetime.now(UTC)), revision=stored.revision)

    async def last(self, subject: str) -> Event:
        """The subject's last event in plain form."""
        async with connected(self._api, STREAMS[stream_of(subject)]) as owner:
            unseal_with(owner, Unsealer(self.data_keys))
            last = await Log(owner).last(subject)
            assert last is not None
            return last.open().data


@asynccontextmanager
async def keys_of(api: Api) -> AsyncIterator[Keys]:
    async with connected(api, "auth") as auth:
        yield Keys(api, auth)


async def _append(api: Api, subject: str, aggregate_id: str, event: Event, at: datetime) -> Message:
    async with connected(api, STREAMS[stream_of(subject)]) as owner:
        log = Log(owner)
        last = await log.last_stored(subject)
        expected, version = (last.sequence, last.envelope().version) if last else (0, 0)
        envelope = seal(event, aggregate_id=aggregate_id, version=version + 1, provenance=Provenance(), at=at)
        await log.append(Append(subject=subject, expected=expected, envelope=envelope))
        stored = await log.last_stored(subject)
        assert stored is not None
        return stored
