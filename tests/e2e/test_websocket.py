"""Live events over a WebSocket, and commands from the client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.people import Api, Json, Person, items
from tests.fix_system import one_replica
from tests.sse_client import listening


class WebSocketClient:
    """One connection, with the messages received over it by kind."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[Json] = []
        self.answers: dict[str | None, Json] = {}
        self.id = ""

    async def read(self) -> None:
        frame: Json = msgspec.json.decode(await self.connection.recv())
        if "answer" in frame:
            self.answers[frame["answer"]] = frame
            return
        self.id = frame.get("id", self.id)
        if frame["event"] != "heartbeat":
            self.events.append(frame)

    async def events_until(self, number: int) -> list[Json]:
        # Heartbeats would make a wait for each message one forever.
        try:
            async with asyncio.timeout(60):
                while len(self.events) < number:
                    await self.read()
        except TimeoutError:
            pytest.fail(f"not {number} events: {self.events}")
        return self.events

    async def ask(self, command: str, user_id: str = "", message_id: str = "", **body: object) -> Json:
        return await self.answer_to(await self.say(command, user_id, message_id, **body))

    async def say(self, command: str, user_id: str = "", message_id: str = "", **body: object) -> str:
        command_id = uuid4().hex
        message = {"id": command_id, "command": command, "user_id": user_id, "body": body}
        if message_id:
            message["message_id"] = message_id
        await self.connection.send(msgspec.json.encode(message).decode())
        return command_id

    async def answer_to(self, command_id: str | None) -> Json:
        async with asyncio.timeout(60):
            while command_id not in self.answers:
                await self.read()
        return self.answers[command_id]


@asynccontextmanager
async def connected(
    api: Api, person: Person, query: str = "", origin: str | None = None
) -> AsyncIterator[WebSocketClient]:
    """Opens a WebSocket as a browser does: with the token as a subprotocol."""
    url = api.system.url.replace("http", "ws", 1) + "/v1/ws" + query
    protocols = ["vestnik.v1", f"bearer.{person.access_token}"]
    async with connect(url, subprotocols=protocols, origin=origin, proxy=None) as connection:  # type: ignore[arg-type]
        client = WebSocketClient(connection)
        async with asyncio.timeout(60):
            await client.read()
        assert client.id
        yield client


async def test_a_message_is_edited_and_deleted_by_command(api: Api) -> None:
    anna, boris = await api.friends()
    [sent] = await anna.sends(boris, "tpyo")
    async with (
        connected(api, anna, f"?since={anna.position}") as annas,
        connected(api, boris, f"?since={anna.position}") as boriss,
    ):
        edited = await annas.ask("edit", boris.user_id, sent["message_id"], text="typo")
        assert (edited["status"], edited["body"]["text"]) == (200, "typo")
        for client, other in ((annas, boris), (boriss, anna)):
            [change] = await client.events_until(1)
            assert (change["event"], change["data"]) == ("message.edited", {**edited["body"], "user_id": other.user_id})
        deleted = await annas.ask("delete", boris.user_id, sent["message_id"])
        assert (deleted["status"], deleted.get("body")) == (204, None)
        refused = await boriss.ask("delete", anna.user_id, sent["message_id"])
        assert (refused["status"], refused["body"]["code"]) == (403, "not_sender")
        for client, other in ((annas, boris), (boriss, anna)):
            end = (await client.events_until(2))[-1]
            assert end["event"] == "message.deleted"
            assert end["data"] == {**sent, "user_id": other.user_id, "text": "", "deleted": True}


async def test_both_react_by_command_and_a_reply_names_the_message_that_it_answers(api: Api) -> None:
    anna, boris = await api.friends()
    [sent] = await anna.sends(boris, "Dinner?")
    message_id = sent["message_id"]
    async with (
        connected(api, anna, f"?since={anna.position}") as annas,
        connected(api, boris, f"?since={anna.position}") as boriss,
    ):
        assert (await boriss.ask("react", anna.user_id, message_id, emoji="❤"))["status"] == 204
        assert (await boriss.ask("remove_reaction", anna.user_id, message_id))["status"] == 204
        refused = await boriss.ask("react", anna.user_id, message_id, emoji="1")
        assert (refused["status"], refused["body"]["errors"][0]["path"]) == (422, "/emoji")
        reply = await boriss.ask("send", anna.user_id, text="Yes", client_message_id="1", reply_to=message_id)
        assert (reply["status"], reply["body"]["reply_to"]["text"]) == (201, "Dinner?")
        fields = {"message_id": message_id, "conversation_id": sent["conversation_id"], "sequence": 1}
        for client, other in ((annas, boris), (boriss, anna)):
            events = await client.events_until(3)
            assert [event["event"] for event in events] == ["reaction.changed", "reaction.changed", "message.sent"]
            shown = {"user_id": other.user_id, "sender_id": boris.user_id, **fields}
            assert [event["data"] for event in events[:2]] == [{**shown, "emoji": "❤️"}, {**shown, "emoji": None}]
            assert events[2]["data"] == {**reply["body"], "user_id": other.user_id}


async def test_what_is_sent_comes_down_and_is_answered(api: Api) -> None:
    anna, boris = await api.friends()
    # Behind the new friendship: another gateway may not have heard of it yet.
    since = f"?since={anna.position}"
    async with connected(api, anna, since) as annas, connected(api, boris, since) as boriss:
        assert annas.connection.subprotocol == "vestnik.v1"
        answer = await annas.ask("send", boris.user_id, text="Hello", client_message_id="1")
        assert (answer["status"], answer["body"]["text"], answer["body"]["sequence"]) == (201, "Hello", 1)
        assert api.sealed.open(answer["position"]).sequence("MESSAGING")
        again = await annas.ask("send", boris.user_id, text="Hello", client_message_id="1")
        assert (again["status"], again["body"]) == (200, answer["body"])
        seen = await boriss.ask("seen", anna.user_id, sequence=1)
        assert (seen["status"], seen.get("body")) == (204, None)
        for client, other in ((annas, boris), (boriss, anna)):
            message, mark = await client.events_until(2)
            assert (message["event"], mark["event"]) == ("message.sent", "message.seen")
            assert message["data"] == {**answer["body"], "user_id": other.user_id}
            assert message["id"] != mark["id"]


@one_replica
async def test_a_command_is_refused_as_over_rest(api: Api) -> None:
    anna, boris = await api.friends()
    stranger = await api.person()
    cases: list[tuple[str, str, Json, Json]] = [
        ("send", stranger.user_id, {"text": "Hi", "client_message_id": "1"}, {}),
        ("send", "nobody", {"text": "Hi", "client_message_id": "1"}, {}),
        ("send", boris.user_id, {"text": "", "client_message_id": "1"}, {}),
        ("send", boris.user_id, {"text": " \u3000\n", "client_message_id": "1"}, {}),
        ("send", boris.user_id, {"text": "Hi", "client_message_id": "1", "more": 1}, {}),
        ("seen", boris.user_id, {"sequence": 9}, {}),
        ("seen", boris.user_id, {"sequence": 0}, {}),
    ]
    async with connected(api, anna) as client:
        for command, user_id, body, _ in cases:
            path = f"/v1/conversations/{user_id}/" + ("messages" if command == "send" else "seen")
            rest = await anna.ask("POST" if command == "send" else "PUT", path, json=body)
            answer = await client.ask(command, user_id, **body)
            assert rest.status_code >= 400
            assert answer["status"] == rest.status_code
            assert {**answer["body"], "instance": path} == rest.json()


@one_replica
async def test_what_is_no_command_is_answered_and_the_line_goes_on(api: Api) -> None:
    anna, boris = await api.friends()
    async with connected(api, anna) as client:
        for text, command_id, status, code in (
            ("{", None, 400, "malformed_json"),
            ('"x"', None, 422, "invalid"),
            ('{"id": "1"}', "1", 422, "invalid"),
            ('{"id": "2", "command": "register"}', "2", 422, "invalid"),
            ('{"id": "3", "command": "send", "surprise": 1}', "3", 422, "invalid"),
            ('{"id": "4", "command": "send", "position": "nonsense"}', "4", 422, "invalid"),
        ):
            client.answers.clear()
            await client.connection.send(text)
            answer = await client.answer_to(command_id)
            assert (answer["status"], answer["body"]["code"]) == (status, code)
        assert (await client.ask("send", boris.user_id, text="still", client_message_id="1"))["status"] == 201


async def test_many_commands_at_once_are_each_answered(api: Api) -> None:
    anna, boris = await api.friends()
    async with connected(api, anna, f"?since={anna.position}") as client:
        asked = [
            await client.say("send", boris.user_id, text=f"number {number}", client_message_id=str(number))
            for number in range(200)
        ]
        answers = [await client.answer_to(command_id) for command_id in asked]
        assert [answer["body"]["text"] for answer in answers] == [f"number {number}" for number in range(200)]
        assert sorted(answer["body"]["sequence"] for answer in answers) == list(range(1, 201))
        assert [event["data"]["sequence"] for event in await client.events_until(200)] == list(range(1, 201))


async def test_it_goes_on_where_server_sent_events_ended_and_the_other_way_round(api: Api) -> None:
    anna, boris = await api.friends()
    async with listening(api.system.url, boris.access_token, since=boris.position) as stream:
        position = stream.id
    await anna.sends(boris, "one")
    async with connected(api, boris, f"?since={position}") as client:
        assert [event["data"]["text"] for event in await client.events_until(1)] == ["one"]
        position = client.id
    await anna.sends(boris, "two")
    async with listening(api.system.url, boris.access_token, since=position) as stream:
        await stream.until(lambda received: bool(received.events))
        assert [event.data["text"] for event in stream.events] == ["two"]


async def test_the_line_is_closed_when_the_session_ends(api: Api) -> None:
    anna = await api.person()
    phone = await api.again(anna)
    async with connected(api, phone) as client:
        assert (await anna.ask("DELETE", f"/v1/sessions/{phone.session_id}")).status_code == 204
        [ended] = await client.events_until(1)
        assert (ended["event"], ended["data"]["session_id"]) == ("session.revoked", phone.session_id)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.connection.recv(), 60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


@one_replica
async def test_the_handshake_is_refused_with_a_problem(api: Api) -> None:
    anna = await api.person()
    stranger = Person(
        api.http,
        {"user_id": "", "username": "", "email": ""},
        {"session_id": "", "access_token": "nonsense", "refresh_token": ""},
        api.sealed,
    )
    for person, query, origin, status, code in (
        (stranger, "", None, 401, "unauthenticated"),
        (anna, "?since=nonsense", None, 422, "invalid"),
        (anna, "", "https://elsewhere.example", 403, "forbidden"),
        (anna, "/nothing", None, 404, "not_found"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with connected(api, person, query, origin):
                pass
        assert refused.value.response.status_code == status
        assert msgspec.json.decode(refused.value.response.body)["code"] == code
    async with connected(api, anna, origin=api.system.url):
        pass
    plain = await anna.get("/v1/ws")
    assert (plain.status_code, plain.json()["code"], plain.headers["upgrade"]) == (426, "upgrade_required", "websocket")


@one_replica
async def test_what_is_too_large_or_no_text_closes_the_line(api: Api) -> None:
    anna = await api.person()
    for message, code in (("x" * 70_000, 1009), (b"bytes", 1003)):
        async with connected(api, anna) as client:
            await client.connection.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.connection.recv(), 60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code


async def test_notifications_come_live_to_who_wants_them_and_are_read_once(api: Api) -> None:
    anna, boris = await api.people(2)
    async with connected(api, boris, "?notifications=true") as boriss, connected(api, boris) as plain:
        begin = boriss.id
        await api.befriend(anna, boris)
        await boris.sends(anna, "Hi")
        await anna.sends(boris, "Hello", "again")
        events = list(await boriss.events_until(8))
        notified = [event["data"] for event in events if event["event"] == "notification.created"]
        assert [data["kind"] for data in notified] == ["friend_request", "message", "message"]
        assert all(data["from_user_id"] == anna.user_id and data["read"] is False for data in notified)
        assert [event["event"] for event in await plain.events_until(5)] == [
            "friendship.created",
            "friendship.accepted",
            "message.sent",
            "message.sent",
            "message.sent",
        ]
        headers = {"Vestnik-Position": boriss.id}
        listed = items(await boris.get("/v1/notifications", headers=headers))
        assert {row["notification_id"] for row in listed} == {data["notification_id"] for data in notified}
        assert (await boris.get("/v1/notifications/unread", headers=headers)).json() == {"unread_count": 3}
        read = notified[0]["notification_id"]
        assert (await boriss.ask("read_notifications", notification_ids=[read]))["status"] == 204
        assert (await boriss.events_until(9))[-1]["event"] == "notification.read"
        assert boriss.events[-1]["data"] == {"notification_ids": [read]}
    again = await boris.ask("POST", "/v1/notifications/read", json={"notification_ids": [read]})
    assert again.status_code == 204
    assert (await boris.get("/v1/notifications/unread")).json() == {"unread_count": 2}
    # A client that connects later gets what is still unread once, from whichever position it resumes.
    async with connected(api, boris, f"?notifications=true&since={begin}") as later:
        assert [
            event["data"]["notification_id"]
            for event in await later.events_until(8)
            if event["event"] == "notification.created" and event["data"]["notification_id"] != read
        ] == [data["notification_id"] for data in notified[1:]]
    positions = [event["id"] for event in events]
    for number, position in enumerate(positions):
        async with connected(api, boris, f"?notifications=true&since={position}") as later:
            wanted = [event["data"] for event in events[number + 1 :]]
            rest = await later.events_until(len(wanted) + 1)
            assert sorted(map(str, wanted)) == sorted(str(event["data"]) for event in rest[:-1])
            assert rest[-1]["event"] == "notification.read"


async def test_an_alert_about_the_account_comes_live_and_once_after_a_reconnect_from_any_position(api: Api) -> None:
    anna, boris = await api.friends()
    async with (
        connected(api, anna, "?notifications=true") as annas,
        connected(api, anna, f"?since={anna.position}") as plain,
    ):
        begin = annas.id
        await boris.sends(anna, "Hi")
        before = list(await annas.events_until(2))
        assert (await api.log_in(anna.email)).status_code == 201
        # The notification of the friendship may come late, among the others.
        while not (alerts := [event for event in annas.events if event["data"].get("kind") == "new_device"]):
            await annas.read()
        [alert] = alerts
        assert alert["event"] == "notification.created"
        assert (alert["data"]["from_user_id"], alert["data"]["read"]) == (anna.user_id, False)
        await boris.sends(anna, "again")
        assert [event["event"] for event in await plain.events_until(2)] == ["message.sent", "message.sent"]
    for position in (begin, *(event["id"] for event in before), alert["id"]):
        async with connected(api, anna, f"?notifications=true&since={position}") as later:
            wanted = position != alert["id"]
            while wanted and alert["data"] not in [event["data"] for event in later.events]:
                await later.read()
            # What was missed is complete before live events begin.
            for end in (f"{position} one", f"{position} two"):
                await boris.sends(anna, end)
                while not any(event["data"].get("text") == end for event in later.events):
                    await later.read()
            assert [event["data"] for event in later.events].count(alert["data"]) == wanted
