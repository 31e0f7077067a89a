"""What the keys of a new month cost: the first message of an author in a conversation, with a key that was created
ahead and without; and how long auth reads the key ring of a person with many keys."""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from contracts import subjects
from contracts.envelope import Envelope, Provenance, encode, now, seal
from contracts.events.data_keys import DataKeysCreated
from contracts.events.message import MessageSent
from contracts.personal_data.key_ids import person_key, text_key
from contracts.subjects import DATA_KEYS
from contracts.values.ids import new_id
from services.auth.data_keys.rings import RecordedKeys, key_rings
from streams.jetstream.client import Client
from streams.log import Append, Log
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.keys.ahead import KeysAhead
from streams.personal_data.keys.creation import KeyCreation
from streams.personal_data.sealer import Sealer
from streams.topology import ensure_bucket
from tests.bench import servers
from tests.bench.report import Row, main, percentile
from tests.integration.recorded_keys import RING

_TURN = datetime(2027, 1, 1, tzinfo=UTC)
# Keys of a person who writes in 5, 20 and 200 conversations a month for three years.
_RINGS = (180, 720, 7_200)
_BATCH = 500


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.nats(sync_always=True) as (client, _):
        await ensure_bucket(client, DATA_KEYS, replicas=1)
        return [*await _first_messages(client, arguments.authors), *await _rings(client)]


async def _first_messages(client: Client, count: int) -> list[Row]:
    store, log = KeyStore(client), Log(client)
    authors = [(new_id(), new_id()) for _ in range(2 * count)]
    creation = KeyCreation(store, RING, RecordedKeys(log))
    ahead, late = authors[:count], authors[count:]
    for first in range(0, len(authors), _BATCH):
        await creation.create([person_key(author) for _, author in authors[first : first + _BATCH]])
    for first in range(0, count, _BATCH):
        part = ahead[first : first + _BATCH]
        await creation.create([text_key(conversation, author, _TURN) for conversation, author in part])
    rows = []
    for name, those in (("created ahead", ahead), ("not created ahead", late)):
        sealer = Sealer(DataKeys(store, RING), KeyCreation(store, RING, RecordedKeys(log)).create)
        taken = sorted([await _sealed(sealer, *pair) for pair in those])
        rows += [
            Row(
                f"key of a first message, {name}, but the call, p{part}",
                percentile(taken, part / 100),
                "ms",
            )
            for part in (50, 99)
        ]
    return [*rows, *await _noting(sealer, _message(*late[0]))]


async def _sealed(sealer: Sealer, conversation: str, author: str) -> float:
    """Milliseconds."""
    message = _message(conversation, author)
    begun = time.perf_counter()
    await sealer.seal_envelopes([message])
    return (time.perf_counter() - begun) * 1_000


async def _noting(sealer: Sealer, message: Envelope, rounds: int = 20_000) -> Sequence[Row]:
    """CPU time of sealing a message outside of the last days of a month, without and with noting its key."""
    per_message = []
    for listens in (False, True):
        if listens:
            sealer.listen(KeysAhead(sealer.create).used)
        await sealer.seal_envelopes([message])
        begun = time.process_time()
        for _ in range(rounds):
            await sealer.seal_envelopes([message])
        per_message.append((time.process_time() - begun) / rounds * 1e6)
    return [
        Row("seal a message with a cached key", per_message[0], "µs"),
        Row("… and note the key", per_message[1], "µs"),
    ]


async def _rings(client: Client) -> list[Row]:
    log, rows = Log(client), []
    for count in _RINGS:
        user, size, last = new_id(), 0, 0
        for first in range(0, count, _BATCH):
            envelopes = [_created(user, version) for version in range(first + 1, min(first + _BATCH, count) + 1)]
            size += sum(len(encode(envelope)) for envelope in envelopes)
            subject = subjects.data_keys(user)
            appends = [Append(subject=subject, expected=last, envelope=envelope) for envelope in envelopes]
            last = (await log.append_together(appends))[-1]
        begun = time.perf_counter()
        loaded = await key_rings(log).load(user)
        rows.append(Row(f"read a key ring of {count:,} keys", (time.perf_counter() - begun) * 1_000, "ms"))
        assert len(loaded.state.created) == count
    return [*rows, Row("an event of a key ring", size / count, "bytes")]


def _created(user: str, version: int) -> Envelope:
    event = DataKeysCreated(key_ids=(text_key(new_id(), user, _TURN),))
    return seal(event, aggregate_id=user, version=version, provenance=Provenance(), at=now())


def _message(conversation: str, author: str) -> Envelope:
    event = MessageSent(
        message_id=new_id(), sender_id=author, recipient_id=new_id(), sequence=1, text="x" * 42, client_message_id="c"
    )
    return seal(event, aggregate_id=conversation, version=1, provenance=Provenance(), at=_TURN)


if __name__ == "__main__":
    main(measure, authors=200)
