"""Messages vanish for everyone when they are older than the operator keeps them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.e2e.conftest import client
from tests.e2e.people import Api, eventually
from tests.e2e.test_messages import found
from tests.fix_system import System
from tests.sse_client import listening

SECONDS = 20


@pytest.fixture
def forgetful_system(tmp_path: Path) -> Iterator[System]:
    """Two replicas of each service, which keep messages for some seconds."""
    days = str(SECONDS / 86_400)
    system = System(tmp_path / "data", replicas=2, settings={"VESTNIK_MESSAGE_RETENTION_DAYS": days})
    try:
        system.start()
        yield system
    finally:
        system.stop()


async def test_old_messages_vanish_once_and_a_rebuild_has_none_of_them(forgetful_system: System) -> None:
    system = forgetful_system
    async with client(system) as http:
        api = Api(system, http)
        anna, boris = await api.friends()
        async with listening(system.url, boris.access_token, since=boris.position) as live:
            texts = [f"a word {number}" for number in range(30)]
            sent = await anna.sends(boris, *texts)

            async def gone() -> bool:
                rows = await boris.messages(anna, limit=100)
                return len(rows) == len(texts) and all(row.get("deleted") and row["text"] == "" for row in rows)

            await eventually(gone, "the messages are deleted", within=120, every=0.5)
            await live.until(
                lambda stream: sum(event.type == "message.deleted" for event in stream.events) == len(texts)
            )
        assert await found(boris, "word") == []
        reacted = await boris.ask(
            "PUT",
            f"/v1/conversations/{anna.user_id}/messages/{sent[0]['message_id']}/reaction",
            json={"emoji": "👍"},
        )
        assert (reacted.status_code, reacted.json()["code"]) == (409, "message_deleted")
        listed = await asyncio.to_thread(system.vestnik, "events", "--type", "message.deleted", "--json")
        events = [msgspec.json.decode(line) for line in listed.stdout.splitlines()]
        assert sorted(event["aggregate_id"] for event in events) == sorted(row["message_id"] for row in sent)
        assert all(event["data"]["expired"] and event["actor"] is None for event in events)
        verified = await asyncio.to_thread(
            system.vestnik, "verify", "conversations", "message_search", "notifications", within=300
        )
        assert verified.returncode == 0, verified.stderr + verified.stdout


@pytest.fixture
def system_with_terms(tmp_path: Path) -> Iterator[System]:
    """A system that keeps the addresses and devices of logins for some seconds."""
    system = System(tmp_path / "data", settings={"VESTNIK_ADDRESS_RETENTION_DAYS": str(SECONDS / 86_400)})
    try:
        system.start()
        yield system
    finally:
        system.stop()


async def test_addresses_and_devices_of_logins_vanish_and_the_sessions_stay(system_with_terms: System) -> None:
    system = system_with_terms
    async with client(system) as http:
        api = Api(system, http)
        anna = await api.person()

        async def origins(path: str) -> list[tuple[str | None, str | None]]:
            answer = await anna.ask("GET", path)
            assert answer.status_code == 200, answer.text
            return [(row["device"], row.get("address")) for row in answer.json()["items"]]

        assert all(address for _, address in await origins("/v1/sessions"))

        async def gone() -> bool:
            listed = [*await origins("/v1/sessions"), *await origins("/v1/sessions/history")]
            return bool(listed) and not any(device or address for device, address in listed)

        await eventually(gone, "the addresses and devices are gone", within=60, every=0.5)
        audited = await asyncio.to_thread(system.vestnik, "audit", "sessions", "--user", anna.user_id, "--json")
        rows = [msgspec.json.decode(line) for line in audited.stdout.splitlines()]
        assert rows
        assert not any(row["address"] or row["device"] for row in rows)
        keys = await asyncio.to_thread(system.vestnik, "aggregate", "data_keys", anna.user_id)
        assert f"address.{anna.user_id}." in keys.stdout
        verified = await asyncio.to_thread(
            system.vestnik, "verify", "sessions", "session_audit", "login_failures", "anomalies", within=300
        )
        assert verified.returncode == 0, verified.stderr + verified.stdout
