"""Destroys again what the key rings call destroyed: in a store that was lost, or restored to an earlier time."""

import asyncio
from collections.abc import Iterable

from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.events.data_keys import DataKeysDestroyed
from contracts.personal_data.key_ids import person_key
from contracts.subjects import AUTH, data_keys
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.destruction import KeyDestruction
from streams.personal_data.reading import PersonalData
from streams.reader import Reader

_BATCH = 1_000
# Keys that are destroyed at a time.
_AT_ONCE = 64


async def destroy_again(nc: Client, store: KeyStore) -> int:
    """Puts a tombstone for each key that the streams call destroyed, and overwrites the keys that are there, also one
    that an interrupted destruction left beside its tombstone. Repeatable. `nc`: an operator's connection; `store`: with
    auth's rights.

    Returns how many had no tombstone.

    Raises:
        KeysUnavailable: the store does not answer.
        Unavailable: the streams do not answer.
    """
    try:
        end = await JetStream(nc).last_sequence(AUTH)
    except (Refused, RequestFailed) as error:
        raise Unavailable from error
    if not end:
        return 0
    destruction, done = KeyDestruction(store), 0
    filter_ = data_keys("*")
    async with Reader(
        nc, AUTH, subject_filter=filter_, name="destroyed-keys", personal_data=PersonalData.EMPTY
    ) as reader:
        while True:
            batch = await reader.next(_BATCH)
            key_ids = list(dict.fromkeys(_destroyed(batch.messages)))
            for start in range(0, len(key_ids), _AT_ONCE):
                done += sum(await asyncio.gather(*map(destruction.destroy, key_ids[start : start + _AT_ONCE])))
            if not batch.pending:
                return done


def _destroyed(messages: Iterable[Message]) -> Iterable[str]:
    for message in messages:
        if message.envelope().type == DataKeysDestroyed.TYPE:
            event = message.open()
            assert isinstance(event.data, DataKeysDestroyed)
            yield from event.data.key_ids or (person_key(event.aggregate_id),)
