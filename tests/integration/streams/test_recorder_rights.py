"""The recorders of the `eventsourcing` library under the rights of a deployment."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import ProgrammingError, StoredEvent
from eventsourcing.utils import Environment

from contracts import envelope
from contracts.envelope import Provenance
from contracts.events.friendship import FriendshipCreated
from contracts.services import OPERATOR
from contracts.subjects import CONTACT, STREAMS, friendship
from contracts.values.ids import pair_id
from infra.security.nats_permissions import inbox_of
from streams.log import Append, Log
from streams.recorder import JetStreamFactory
from tests.integration.infra.nats_parties import parties


async def test_the_operator_reads_a_services_stream_with_the_library_and_cannot_append(tmp_path: Path) -> None:
    anna, ben = str(uuid4()), str(uuid4())
    pair = pair_id(anna, ben)
    created = FriendshipCreated(requester_id=anna, addressee_id=ben)
    async with parties(tmp_path) as all_parties:
        owner = await all_parties.party(STREAMS[CONTACT])
        sealed = envelope.seal(created, aggregate_id=pair, version=1, provenance=Provenance())
        await Log(owner.nats).append(Append(subject=friendship(pair), expected=0, envelope=sealed))
        factory = JetStreamFactory(
            Environment(
                "Audit",
                {
                    "NATS_URL": all_parties.server.url_of(OPERATOR),
                    "NATS_INBOX_PREFIX": inbox_of(OPERATOR),
                    "NATS_STREAM": CONTACT,
                    "NATS_SUBJECT_PREFIX": "vestnik.contact.friendship",
                    "CREATE_TABLE": "no",
                },
            )
        )
        try:
            recorder = await asyncio.to_thread(factory.application_recorder)
            (stored,) = await asyncio.to_thread(recorder.select_events, UUID(pair))
            assert (stored.topic, stored.originator_version) == ("friendship.created", 1)
            with recorder.subscribe() as subscription:
                assert (await asyncio.to_thread(next, subscription)).originator_id == UUID(pair)
            forged = StoredEvent(
                originator_id=UUID(pair), originator_version=2, topic="friendship.accepted", state=b"{}"
            )
            with pytest.raises(ProgrammingError, match="no right"):
                await asyncio.to_thread(recorder.insert_events, [forged])
        finally:
            await asyncio.to_thread(factory.close)
