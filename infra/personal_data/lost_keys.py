"""Finds the keys that events name and the store of data keys has lost."""

import re

from nats.aio.client import Client

from contracts.errors import Unavailable
from contracts.personal_data.key_ids import owner_of, wrapped_by
from contracts.subjects import STREAMS, all_of
from streams.jetstream.api import JetStream, Refused
from streams.jetstream.requests import RequestFailed
from streams.message import Message
from streams.personal_data.key_store import KeyStore

# Keys that are looked for: where more are lost, the bucket is.
MOST = 100
# The key of a sealed field in the JSON of an event. Quotes in a text are escaped, so that none is taken for it.
_KEY = re.compile(rb'"key":"((?:person|text)\.[0-9a-f.-]+)"')


async def lost_keys(nc: Client, store: KeyStore) -> list[str]:
    """The lost keys, at most `MOST`; reads all events. A person's key stands for those that it wraps.

    Raises:
        KeysUnavailable: the store does not answer.
        Unavailable: the streams do not answer.
    """
    jetstream, lost = JetStream(nc), dict[str, None]()
    for stream in STREAMS:
        after = 0
        while len(lost) < MOST and (page := await _page(jetstream, stream, after)):
            after = page[-1].sequence
            lost |= dict.fromkeys(await _lost(store, page))
    return list(lost)[:MOST]


async def _lost(store: KeyStore, page: list[Message]) -> list[str]:
    named = {match.decode() for message in page for match in _KEY.findall(message.payload)}
    key_ids = sorted(key_id for key_id in named if owner_of(key_id) is not None)
    if not key_ids:
        return []
    wrappers = {key_id: wrapped_by(key_id) or key_id for key_id in key_ids}
    wanted = list(dict.fromkeys([*wrappers.values(), *key_ids]))
    records = await store.find(wanted)
    for key_id in wanted:
        # The replica that was asked may lag behind.
        if key_id not in records and (stored := await store.latest(key_id)) is not None and not stored.record.is_mark:
            records[key_id] = stored.record
    lost = []
    for key_id, wrapper in wrappers.items():
        if wrapper not in records:
            lost.append(wrapper)
        elif key_id not in records and records[wrapper].destroyed_at is None:
            lost.append(key_id)
    return lost


async def _page(jetstream: JetStream, stream: str, after: int) -> list[Message]:
    """The next events of the stream; none at its end."""
    try:
        page, _ = await jetstream.many(stream, all_of(stream), after)
        if not page and (message := await jetstream.next(stream, all_of(stream), after)) is not None:
            # That replica lags behind.
            return [message]
        return page
    except (Refused, RequestFailed) as error:
        raise Unavailable from error
