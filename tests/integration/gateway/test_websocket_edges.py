"""A WebSocket's handshake and commands as no decent client sends them."""

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from contracts.rpc.vestnik.contact.v1 import GetFriendsResponse
from contracts.values.ids import new_id
from services.gateway.limits import policies
from tests.integration.gateway.conftest import Harness
from tests.recording_tracer import recording


def address(harness: Harness, query: str = "") -> str:
    return str(harness.client.base_url).rstrip("/").replace("http", "ws", 1) + "/v1/ws" + query


async def test_a_refused_handshake_has_the_headers_of_every_answer(harness: Harness) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(harness, "?since=x"), additional_headers=harness.signed_in, proxy=None):
            pass
    headers = refused.value.response.headers
    assert refused.value.response.status_code == 422
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert '"live"' in headers["ratelimit"]
    assert headers["x-request-id"]


COMMANDS = [
    '{"id":"1","command":"\\u0073end","body":[' + "1" * 5_000 + "]}",
    '{"id":"1","command":"seen","command":"send"}',
    '{"id":"1","command":"send","b\\u006fdy":{},"body":{}}',
    '{"id":"1","command":"send","body":{"t\\u0065xt":' + "1" * 5_000 + "}}",
]


async def test_a_command_that_can_be_read_in_two_ways_or_holds_a_huge_number_is_refused(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    async with connect(address(harness), additional_headers=harness.signed_in, proxy=None) as connection:
        for command in COMMANDS:
            await connection.send(command)
            while "answer" not in (answer := msgspec.json.decode(await connection.recv())):
                pass
            assert (answer["answer"], answer["status"], answer["body"]["code"]) == ("1", 422, "invalid")
    assert "a command failed" not in caplog.text


HALVED = [
    ('{"id":"1","command":"send","body":{"text":"\\ud83d","client_message_id":"1"}}', "1"),
    ('{"command":"send","body":{"text":"\\ud83d","id":"2"},"id":"1"}', "1"),
    ('{"command":"send","body":{"text":"\\ud83d","id":"2"}}', None),
    ('{"id":"\\ud83d","command":"send"}', None),
    ('{"id":1,"command":"\\ud83d"}', None),
    ('["\\ud83d"]', None),
]


async def test_a_command_with_half_an_emoji_is_answered_by_its_id(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    async with connect(address(harness), additional_headers=harness.signed_in, proxy=None) as connection:
        for command, command_id in HALVED:
            await connection.send(command)
            while "answer" not in (answer := msgspec.json.decode(await connection.recv())):
                pass
            assert (answer["answer"], answer["status"], answer["body"]["code"]) == (command_id, 422, "invalid"), command


async def test_messages_over_a_websocket_are_limited_whatever_they_say(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    limiter = harness.context.limiter
    assert limiter is not None
    async with connect(address(harness), additional_headers=harness.signed_in, proxy=None) as connection:
        at = limiter._clock()
        limiter._clock = lambda: at
        for _ in range(policies.COMMAND.capacity):
            limiter.consume(policies.COMMAND, harness.user_id)
        for text, command_id in (('{"id":"1","command":"none"}', "1"), ("{", None)):
            await connection.send(text)
            while "answer" not in (answer := msgspec.json.decode(await connection.recv())):
                pass
            assert (answer["answer"], answer["status"], answer["body"]["code"]) == (command_id, 429, "rate_limited")
            assert answer["retry_after"] == 1


async def test_a_command_is_traced_by_its_route_and_carries_the_trace_on(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    with recording() as spans:
        async with connect(address(harness), additional_headers=harness.signed_in, proxy=None) as connection:
            await connection.send(
                msgspec.json.encode(
                    {"id": "1", "command": "seen", "user_id": new_id(), "body": {"sequence": 1}},
                ).decode()
            )
            while "answer" not in (answer := msgspec.json.decode(await connection.recv())):
                pass
    command, call = next((one, two) for one in spans for two in spans if two.parent == one.traceparent)
    assert (command.name, command.attributes["http.response.status_code"]) == ("command seen", answer["status"])
    assert command.attributes["http.route"] == "/v1/conversations/{user_id}/seen"
    assert call.name.startswith("vestnik.messaging.v1.MessagingService/")
