"""Events that no read model can apply, as a fault or a stranger might have written them."""

import json
from urllib.parse import urlsplit, urlunsplit

import nats as nats_py

from contracts.subjects import conversation
from contracts.values.ids import pair_id
from infra.runtime.run_file import find
from infra.security.secrets import NATS_PARTIES, Secrets
from tests.e2e.people import Api, Person


async def poisoned(api: Api, one: Person, other: Person) -> str:
    """An event that is none, written into a conversation with the rights of its owner; the conversation."""
    url = urlsplit(find(api.system.data_dir).nats_url)
    password = Secrets.load(api.system.data_dir / "secrets").nats_passwords()["messaging"]
    assert "messaging" in NATS_PARTIES
    own = urlunsplit(url._replace(netloc=f"messaging:{password}@{url.hostname}:{url.port}"))
    conversation_id = pair_id(one.user_id, other.user_id)
    client = await nats_py.connect(own, inbox_prefix=b"_INBOX_messaging")
    try:
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
    finally:
        await client.close()
    return conversation_id
