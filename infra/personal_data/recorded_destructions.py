"""Compares the end of keys in the store and in the streams, where either was restored to an earlier time.

Destroys again what the key rings call destroyed, and finds erasures that the streams do not have.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.events.data_keys import DataKeysDestroyed
from contracts.personal_data.key_ids import owner_of, person_key, wrapped_by
from contracts.subjects import AUTH, data_keys, user
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Log
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
    destruction, done = KeyDestruction(store), 0
    async with aclosing(_pages(nc)) as pages:
        async for key_ids in pages:
            for start in range(0, len(key_ids), _AT_ONCE):
                done += sum(await asyncio.gather(*map(destruction.destroy, key_ids[start : start + _AT_ONCE])))
    return done


async def unrecorded_erasures(nc: Client, store: KeyStore) -> list[str]:
    """The ids of users whose key the store calls destroyed and the streams do not: streams that were restored to a time
    before the erasure, which has to be repeated. `nc`: an operator's connection.

    Raises:
        KeysUnavailable: the store does not answer.
        Unavailable: the streams do not answer.
    """
    destroyed: dict[str, str] = {}
    async for page in store.pages():
        for key_id, record in page:
            if wrapped_by(key_id) is None and record.destroyed_at is not None:
                destroyed[key_id] = owner_of(key_id) or ""
    async with aclosing(_pages(nc)) as pages:
        async for key_ids in pages:
            for key_id in key_ids:
                destroyed.pop(key_id, None)
    # An account that was registered after that time is not there either.
    log = Log(nc)
    return [user_id for user_id in destroyed.values() if await log.last(user(user_id)) is not None]


async def _pages(nc: Client) -> AsyncGenerator[list[str], None]:
    """The keys that the streams call destroyed."""
    try:
        end = await JetStream(nc).last_sequence(AUTH)
    except (Refused, RequestFailed) as error:
        raise Unavailable from error
    if not end:
        return
    filter_ = data_keys("*")
    async with Reader(
        nc, AUTH, subject_filter=filter_, name="destroyed-keys", personal_data=PersonalData.EMPTY
    ) as reader:
        while True:
            batch = await reader.next(_BATCH)
            yield list(dict.fromkeys(_destroyed(batch.messages)))
            if not batch.pending:
                return


def _destroyed(messages: Iterable[Message]) -> Iterable[str]:
    for message in messages:
        if message.envelope().type == DataKeysDestroyed.TYPE:
            event = message.open()
            assert isinstance(event.data, DataKeysDestroyed)
            yield from event.data.key_ids or (person_key(event.aggregate_id),)
