"""Events with sealed personal data, which a later release writes, are shown to everyone as plain ones are."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from contracts import subjects
from contracts.envelope import now
from contracts.events.message import MessageEdited, MessageSent, ReactionChanged
from contracts.events.profile import ProfileUpdated
from contracts.events.session import SessionCreated
from contracts.events.user import AddressState, EmailRegistrationRequested, EmailVerificationMailRequested
from contracts.personal_data.key_ids import person_key
from contracts.values.ids import new_id, pair_id
from contracts.values.timestamps import rfc3339
from infra.security.secrets import Secrets
from services.auth.claim_keys import ClaimKeys
from tests.e2e.people import Api, Json, Person, assert_problem, eventually, items
from tests.e2e.sealed import Keys, keys_of
from tests.e2e.test_messages import found
from tests.fix_system import one_replica
from tests.sse_client import Stream, listening


def message(sender: Person, recipient: Person, sequence: int, text: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=sender.user_id,
        recipient_id=recipient.user_id,
        sequence=sequence,
        text=text,
        client_message_id=new_id(),
    )


async def write(keys: Keys, sent: MessageSent) -> None:
    conversation_id = pair_id(sent.sender_id, sent.recipient_id)
    stored = await keys.append(subjects.conversation(conversation_id), conversation_id, sent)
    assert sent.text.encode() not in stored.payload


async def command(api: Api, *arguments: str) -> str:
    done = await asyncio.to_thread(api.system.vestnik, *arguments, within=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def texts(reader: Person, other: Person) -> list[str]:
    """The newest first."""
    return [row["text"] for row in await reader.messages(other)]


@one_replica
async def test_sealed_and_plain_messages_of_a_conversation_are_the_same_to_everyone(api: Api) -> None:
    anna, boris = await api.friends()
    conversation_id = pair_id(anna.user_id, boris.user_id)
    async with (
        keys_of(api) as keys,
        listening(api.system.url, boris.access_token, since=boris.position) as live,
    ):
        [plain] = await anna.sends(boris, "a plain word")
        sent, second = message(anna, boris, 2, "a hidden word"), message(boris, anna, 3, "another one")
        await write(keys, sent)
        await write(keys, second)

        async def shown() -> bool:
            return await texts(boris, anna) == ["another one", "a hidden word", "a plain word"]

        await eventually(shown, "the sealed messages")
        change: Any = {
            "message_id": sent.message_id,
            "conversation_id": conversation_id,
            "sequence": 2,
            "sender_id": anna.user_id,
            "sent_at": now(),
            "members": (anna.user_id, boris.user_id),
        }
        subject = subjects.message(sent.message_id)
        await keys.append(subject, sent.message_id, MessageEdited(**change, text="an edited word"))
        await keys.append(subject, sent.message_id, ReactionChanged(**change, user_id=boris.user_id, emoji="👍"))

        def is_whole(stream: Stream) -> bool:
            return bool(stream.events) and stream.events[-1].type == "reaction.changed"

        await live.until(is_whole)
        delivered = [(event.type, event.data.get("text") or event.data.get("emoji")) for event in live.events]
        assert delivered == [
            ("message.sent", "a plain word"),
            ("message.sent", "a hidden word"),
            ("message.sent", "another one"),
            ("message.edited", "an edited word"),
            ("reaction.changed", "👍"),
        ]

        async def reacted() -> bool:
            return [reaction["emoji"] for reaction in (await anna.messages(boris))[1].get("reactions", [])] == ["👍"]

        await eventually(reacted, "the sealed reaction")

        async def searched() -> bool:
            return await found(anna, "word") == ["an edited [word]", "a plain [word]"]

        await eventually(searched, "the sealed texts in the search")
        row = await anna.conversation(boris)
        assert row is not None
        assert row["last_message"]["text"] == "another one"
        # Commands decide on what the sealed events say.
        assert (await anna.edit(boris, sent.message_id, "a third word")).status_code == 200
        repeat = await anna.write(boris, "a hidden word", sent.client_message_id)
        assert (repeat.status_code, repeat.json()["message_id"]) == (200, sent.message_id)
        assert_problem(await anna.write(boris, "other", sent.client_message_id), 409, "client_message_id_reused")
        [reply] = await boris.sends(anna, "plain again")
        assert reply["sequence"] == 4
        # What an operator sees, and what is stored.
        events = await command(api, "events", "--id", conversation_id, "--type", "message.sent", "--json")
        assert [msgspec.json.decode(line)["data"]["text"] for line in events.splitlines()] == [
            "a plain word",
            "a hidden word",
            "another one",
            "plain again",
        ]
        raw = await command(api, "events", "--id", conversation_id, "--json", "--raw")
        assert "a hidden word" not in raw
        assert "ciphertext" in raw
        state = await command(api, "aggregate", "message", sent.message_id, "--json")
        assert "an edited word" in state
        assert "ciphertext" not in state
        assert plain["message_id"]


@one_replica
async def test_a_sealed_profile_session_and_address_are_as_plain_ones(api: Api) -> None:
    anna, boris = await api.friends()
    async with (
        keys_of(api) as keys,
        listening(api.system.url, boris.access_token, since=boris.position) as live,
    ):
        updated = ProfileUpdated(display_name="Anna the Sealed", bio="a bio")
        await keys.append(subjects.profile(anna.user_id), anna.user_id, updated)
        await live.until(lambda stream: any(event.type == "profile.updated" for event in stream.events))
        [event] = [event for event in live.events if event.type == "profile.updated"]
        assert (event.data["display_name"], event.data["bio"]) == ("Anna the Sealed", "a bio")

        async def profile() -> bool:
            shown = (await boris.get(f"/v1/profiles/{anna.user_id}")).json()
            return (shown["display_name"], shown["bio"]) == ("Anna the Sealed", "a bio")

        await eventually(profile, "the sealed profile")
        session_id = new_id()
        created = SessionCreated(
            user_id=anna.user_id,
            username=anna.username,
            device="a sealed phone",
            address="192.0.2.77",
            expires_at=now() + timedelta(days=1),
        )
        await keys.append(subjects.session(session_id), session_id, created)

        async def listed() -> Json | None:
            rows = items(await anna.get("/v1/sessions"))
            return next((row for row in rows if row["session_id"] == session_id), None)

        row = await eventually(listed, "the sealed session")
        assert row is not None
        assert row["device"] == "a sealed phone"
        audit = await command(api, "audit", "sessions", "--user", anna.username, "--json")
        [login] = [row for row in map(msgspec.json.decode, audit.splitlines()) if row["session_id"] == session_id]
        assert (login["username"], login["device"], login["address"]) == (anna.username, "a sealed phone", "192.0.2.77")

        # The reaction that mails, and the login, read the state of the address.
        account = await api.register()
        await api.mailed_token(account["email"])
        claims = ClaimKeys(Secrets.load(Path(api.system.data_dir) / "secrets").claims_key)
        key = claims.of_email(account["email"])
        requested = await keys.last(subjects.email_claim(key))
        assert isinstance(requested, EmailRegistrationRequested)
        again = EmailVerificationMailRequested(address=requested.address)
        await keys.append(subjects.email_claim(key), key, again)

        async def mailed() -> bool:
            return len(api.mails_to(account["email"])) == 2

        await eventually(mailed, "the second mail")
        assert all(account["username"] in mail for mail in api.mails_to(account["email"]))
        await api.verify(account["email"])
        assert (await api.log_in(account["email"])).status_code == 201
        verified = await keys.last(subjects.email_claim(key))
        address = getattr(verified, "address", None)
        assert isinstance(address, AddressState)
        assert address.email == account["email"]
    # What was made of the sealed events one by one is what a rebuild makes, and what a read model of the past shows.
    await command(api, "verify")
    await command(api, "rebuild", "sessions", "--as-of", rfc3339(now()), "--into", "sealed_past")
    with psycopg.connect(api.system.database_url(), autocommit=True) as database:
        query = "SELECT device FROM sealed_past.sessions WHERE session_id = %s"
        assert database.execute(query, (session_id,)).fetchall() == [("a sealed phone",)]


@one_replica
async def test_readers_wait_for_a_key_and_an_erased_one_leaves_nothing_after_a_rebuild(api: Api) -> None:
    anna, boris = await api.friends()
    carla, dan = await api.friends()
    conversation_id = pair_id(carla.user_id, dan.user_id)
    async with keys_of(api) as keys, listening(api.system.url, boris.access_token, since=boris.position) as live:
        sent = message(carla, dan, 1, "a word of Carla")
        store_key = await keys.append_before_its_key(sent)
        try:

            async def waits() -> bool:
                done = await asyncio.to_thread(api.system.vestnik, "status", "--json")
                return "Personal data cannot be read" in done.stdout

            await eventually(waits, "the status says why", every=1)
            response = await carla.edit(dan, sent.message_id, "edited")
            assert response.status_code in {404, 503}, response.text
            failed = await asyncio.to_thread(api.system.vestnik, "events", "--id", conversation_id)
            assert failed.returncode == 1
            assert "Personal data cannot be read" in failed.stderr
            [other] = await anna.sends(boris, "meanwhile")
            # The gateways serve, and live events of others arrive.
            await live.until(lambda stream: any(event.data.get("text") == "meanwhile" for event in stream.events))
            assert (await boris.get("/readyz")).status_code == 200
            # Neither a dead letter nor a failure: it is read once the key is there.
            assert await command(api, "dead-letters", "list", "--json") == ""
        finally:
            await store_key()

        async def shown() -> bool:
            return await texts(dan, carla) == ["a word of Carla"] and await texts(boris, anna) == ["meanwhile"]

        await eventually(shown, "all that waited")
        assert other["sequence"] == 1

        only = ("rebuild", "conversations", "--only", conversation_id)
        await command(api, *only)
        assert await texts(dan, carla) == ["a word of Carla"]
        await keys.destroy(person_key(carla.user_id))
        await command(api, *only)
        assert await texts(dan, carla) == [""]
        await command(api, "rebuild", "conversations", "message_search")
        assert await texts(dan, carla) == [""]
        assert await found(dan, "Carla") == []
        await command(api, "verify", "conversations", "message_search")
        events = await command(api, "events", "--id", conversation_id, "--type", "message.sent", "--json")
        [event] = map(msgspec.json.decode, events.splitlines())
        assert event["data"]["text"] == ""
        # Without that, the other read models would not equal their streams.
        await command(api, "erase", carla.user_id, "--yes", "--reason", "a test")
