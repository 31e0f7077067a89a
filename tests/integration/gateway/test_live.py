"""Live events at one gateway: slow clients, sessions that run out, a gateway that stops, one question for many."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, cast

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nats.aio.client import Client as NATS
from websockets.exceptions import ConnectionClosed

from contracts import subjects
from contracts.errors import KeysUnavailable
from contracts.events.message import MessageSent
from contracts.rpc.vestnik.contact.v1 import GetFriendsResponse
from contracts.rpc.vestnik.session.v1 import ValidateSessionResponse
from contracts.values.ids import pair_id
from infra.security.access_keys import AccessKeys
from infra.security.key_lifecycle import KeyTerms
from services.gateway.consistency import stream_follower
from services.gateway.live import delivery
from streams.personal_data import cipher
from streams.personal_data.metrics import KeysUnreachable
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from tests.conditions import until
from tests.integration.gateway.conftest import Harness, running_gateway
from tests.integration.gateway.live_clients import (
    FRIENDS,
    PEER,
    address,
    answer,
    down,
    message,
    sequences,
    socket,
    write,
)
from tests.sse_client import Refused, Stream, connect, listening

# More than the buffers of the two ends of a connection hold, and less than the gateway remembers.
_MANY, _LONG = 1_700, "x" * 4_000


async def test_a_slow_client_is_ended_and_comes_back_and_delays_nobody(harness: Harness) -> None:
    harness.script.answers = {"get_friends": FRIENDS}
    url, token = address(harness), harness.token()
    async with listening(url, token) as slow, listening(url, token) as quick:
        # The slow client reads nothing while all events are sent.
        slow.pause()
        writing = asyncio.create_task(write(harness, _MANY, _LONG))
        await quick.until(lambda client: len(client.events) >= _MANY, within=60)
        await writing
        # Now it reads what was in transit, then the end: a proper one, unless it read nothing for too long.
        slow.resume()
        with suppress(OSError, EOFError):
            await slow.until_end(within=60)
            assert slow.finished
        got = [event.id for event in slow.events]
        assert 0 < len(got) < _MANY
        assert sequences(slow) == sequences(quick)[: len(got)]
        ended = (await harness.client.get("/metrics")).text
        assert 'vestnik_live_clients_ended_total{kind="sse",reason="too slow"} 1.0' in ended
    async with listening(url, token, last_event_id=slow.id) as again:
        await again.until(lambda client: len(client.events) >= _MANY - len(got), within=60)
        assert sequences(slow) + sequences(again) == sequences(quick)


class MessageStarred(MessageSent, frozen=True, kw_only=True):
    """An event of a later release: its type is in no list here."""

    TYPE: ClassVar[str] = "message.starred"


async def test_an_event_of_a_later_release_is_left_out_without_an_error(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.script.answers = {"get_friends": FRIENDS}
    conversation = pair_id(PEER, harness.user_id)
    starred = MessageStarred(**msgspec.structs.asdict(message(harness, 1, "of a later release")))
    async with listening(address(harness), harness.token()) as stream:
        await harness.append(subjects.conversation(conversation), conversation, starred)
        await write(harness, 1, "known")
        await stream.until(lambda client: bool(client.events))
        assert [event.type for event in stream.events] == ["message.sent"]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


class NoKeys:
    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        raise KeysUnavailable


async def test_an_event_whose_key_is_lost_stops_neither_the_gateway_nor_the_events_behind_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The wait is longer than the silence after which a follower is out of date.
    monkeypatch.setattr(stream_follower, "_KEYS_PATIENCE", 6.0)
    unseal_with(harness.nats, Unsealer(NoKeys()))
    harness.script.answers = {"get_friends": FRIENDS}
    conversation = pair_id(PEER, harness.user_id)
    text = cast(str, cipher.seal(AESGCM(cipher.new_key()), "k", "message.sent/text", "hidden"))
    async with listening(address(harness), harness.token()) as stream:
        for sequence in (1, 2):
            await harness.append(subjects.conversation(conversation), conversation, message(harness, sequence, text))
            plain = message(harness, sequence + 10, "plain")
            await harness.append(subjects.conversation(conversation), conversation, plain)
        arrival = asyncio.create_task(stream.until(lambda client: len(client.events) == 2))
        while not arrival.done():
            assert (await harness.client.get("/readyz")).status_code == 200
            assert harness.context.live.alive
            await asyncio.sleep(0.1)
        await arrival
        assert sequences(stream) == [11, 12]


class KeysAway:
    """A store of keys that does not answer until it is `back`."""

    def __init__(self) -> None:
        self.back: AESGCM | None = None
        self.asked = 0

    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        self.asked += 1
        if self.back is None:
            raise KeysUnreachable
        return dict.fromkeys(key_ids, self.back)


async def test_while_the_store_of_keys_does_not_answer_live_events_wait_and_none_is_left_out(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_follower, "_KEYS_PATIENCE", 0.5)
    key, store = AESGCM(cipher.new_key()), KeysAway()
    unseal_with(harness.nats, Unsealer(store))
    harness.script.answers = {"get_friends": FRIENDS}
    conversation = pair_id(PEER, harness.user_id)
    text = cast(str, cipher.seal(key, "k", "message.sent/text", "hidden"))
    async with listening(address(harness), harness.token()) as stream:
        await harness.append(subjects.conversation(conversation), conversation, message(harness, 1, text))
        # Longer than the patience and the silence after which a follower is out of date: clients are refused then.
        await until(lambda: not harness.context.live.alive)
        assert store.asked > 1
        await harness.append(subjects.conversation(conversation), conversation, message(harness, 2, text))
        store.back = key
        await stream.until(lambda client: len(client.events) == 2)
        assert sequences(stream) == [1, 2]
    await until(lambda: harness.context.live.alive)


async def test_a_session_that_runs_out_ends_its_streams(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams, session_days=1, access_token_seconds=86_400) as harness:
        harness.script.answers = {
            "get_friends": GetFriendsResponse(),
            "validate_session": ValidateSessionResponse(active=False),
        }
        # With these settings a session lasts no longer than the token that it was refreshed with.
        async with listening(address(harness), harness.token(expires_in=6)) as stream:
            await stream.until_end(within=40)
            assert [(event.type, event.data) for event in stream.events] == [
                ("session.revoked", {"session_id": harness.session_id, "reason": "expired"})
            ]
            assert stream.finished


async def test_a_session_that_was_prolonged_elsewhere_goes_on(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams, session_days=1, access_token_seconds=86_400) as harness:
        harness.script.answers = {
            "get_friends": GetFriendsResponse(),
            "validate_session": ValidateSessionResponse(active=True, user_id=harness.user_id),
        }
        async with listening(address(harness), harness.token(expires_in=6)) as stream:
            await until(lambda: any(method == "validate_session" for method, _, _ in harness.script.asked))
            await write(harness, 1, "still here")
            await stream.until(lambda client: bool(client.events))
            assert [event.type for event in stream.events] == ["message.sent"]


async def test_what_was_opened_with_a_key_that_was_stolen_ends_when_the_key_is_replaced(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    token, terms = harness.token(), KeyTerms.of(harness.settings)
    async with listening(address(harness), token) as stream, socket(harness, token) as line:
        AccessKeys(harness.settings.secrets_path, terms).rotate(datetime.now(UTC), at_once=True)
        await stream.until_end()
        assert (stream.finished, stream.events) == (True, [])
        with pytest.raises(ConnectionClosed) as closed:
            await answer(line, "read_notifications")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        # Its owner comes again with a token of the new key.
        async with listening(address(harness), harness.token(), last_event_id=stream.id) as again:
            assert again.id


async def test_a_command_needs_a_token_that_is_still_good_and_the_events_do_not(harness: Harness) -> None:
    harness.script.answers = {"get_friends": FRIENDS}
    async with socket(harness, harness.token(expires_in=6)) as line:
        async with asyncio.timeout(60):
            while (refused := await answer(line, "nothing"))["status"] == 422:
                await asyncio.sleep(0.1)
        assert (refused["status"], refused["body"]["code"]) == (401, "unauthenticated")
        assert (await answer(line, "read_notifications"))["status"] == 401
        await write(harness, 1, "still here")
        async with asyncio.timeout(60):
            while (await down(line)).get("event") != "message.sent":
                pass


async def test_a_gateway_that_stops_ends_every_stream_at_once(tmp_path: Path, streams: NATS) -> None:
    async with running_gateway(tmp_path, streams) as harness:
        harness.script.answers = {"get_friends": GetFriendsResponse()}
        opened = [await connect(address(harness), harness.token()) for _ in range(3)]
    for stream in opened:
        await stream.until_end()
        assert stream.finished
        stream.close()


async def test_many_clients_of_a_user_ask_for_its_friends_once(harness: Harness) -> None:
    harness.script.answers = {"get_friends": FRIENDS}
    url, token = address(harness), harness.token()
    opened = await asyncio.gather(*(connect(url, token) for _ in range(10)))
    await write(harness, 1, "Hello")
    for stream in opened:
        await stream.until(lambda client: bool(client.events))
        stream.close()
    async with listening(url, token, since=opened[0].id) as again:
        await write(harness, 1, "again")
        await again.until(lambda client: bool(client.events))
    assert [method for method, _, _ in harness.script.asked] == ["get_friends"]


async def test_a_stream_that_fails_inside_ends_cleanly(harness: Harness) -> None:
    # The script has no answer to whether the two are friends: contact's answer is an error.
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    url, token = address(harness), harness.token()
    async with listening(url, token) as stream:
        begin = stream.id
    await write(harness, 1, "Hello")
    await until(lambda: harness.context.live.positions().sequence("MESSAGING") > 0)
    async with listening(url, token, since=begin) as stream:
        await stream.until_end()
        assert (stream.finished, stream.events) == (True, [])


async def test_clients_of_one_user_that_come_at_once_are_bounded_like_those_that_come_one_by_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_OF_ONE", 1)
    everybody_waits = asyncio.Barrier(2)

    async def together(*_: object) -> Mapping[str, int]:
        await everybody_waits.wait()
        return {"MESSAGING": 0}

    monkeypatch.setattr(delivery, "resolve_start", together)
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    opened = await asyncio.gather(
        *(connect(address(harness), harness.token()) for _ in range(2)), return_exceptions=True
    )
    streams = [outcome for outcome in opened if isinstance(outcome, Stream)]
    for stream in streams:
        stream.close()
    [refused] = [outcome for outcome in opened if not isinstance(outcome, Stream)]
    assert len(streams) == 1
    assert isinstance(refused, Refused)
    assert refused.status == 429
