"""Events that no read model can apply, as a fault or a stranger might have written them, and parked ones."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import nats as nats_py
from nats.aio.client import Client

from contracts.durable_consumers import PROFILE_CREATION
from contracts.subjects import AUTH, conversation, user
from contracts.values.ids import pair_id
from infra.runtime.run_file import find
from infra.security.secrets import NATS_PARTIES, Secrets
from streams.message import Message
from streams.reactions.parked import ParkedEvents, ParkedId
from tests.e2e.people import Api, Person


async def poisoned(api: Api, one: Person, other: Person) -> str:
    """An event that is none, written into a conversation with the rights of its owner; the conversation."""
    conversation_id = pair_id(one.user_id, other.user_id)
    async with connected(api, "messaging") as client:
        envelope = {
            "id": "01900000-0000-7000-8000-000000000000",
            "type": "message.sent",
            "schema": 1,
            "aggregate_id": conversation_id,
            "version": 1,
            "at": "2026-01-31T12:00:00Z",
            "data": {"text": "no message of anybody"},
        }
        await client.request(conversation(conversation_id), json.dumps(envelope).encode(), timeout=60)
    return conversation_id


async def parked(api: Api, sequence: int) -> str:
    """Parks an event of AUTH as profile creation does, though its effect can be done; the dead letter's id."""
    async with connected(api, "profile") as client:
        message = Message(AUTH, sequence, user("x"), b"")
        await ParkedEvents(client, "profile").park(PROFILE_CREATION, message, "a test", 10)
    return str(ParkedId(PROFILE_CREATION.name, AUTH, sequence))


@asynccontextmanager
async def connected(api: Api, party: str) -> AsyncIterator[Client]:
    """A connection with the rights of a service."""
    url = urlsplit(find(api.system.data_dir).nats_url)
    password = Secrets.load(api.system.data_dir / "secrets").nats_passwords()[party]
    assert party in NATS_PARTIES
    own = urlunsplit(url._replace(netloc=f"{party}:{password}@{url.hostname}:{url.port}"))
    client = await nats_py.connect(own, inbox_prefix=f"_INBOX_{party}".encode())
    try:
        yield client
    finally:
        await client.close()
