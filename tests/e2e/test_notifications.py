"""Notifications: of requests, acceptances and messages."""

from datetime import UTC, datetime, timedelta

from contracts.values.timestamps import rfc3339
from tests.e2e.people import Api, Json, Person, eventually, items
from tests.sse_client import Stream, listening

FIELDS = {"notification_id", "kind", "from_user_id", "at", "read"}


async def notified(person: Person, *kinds: str) -> list[Json]:
    """The person's notifications, as soon as they are of these kinds, newest first."""

    async def as_expected() -> list[Json]:
        listed = items(await person.get("/v1/notifications"))
        return listed if [row["kind"] for row in listed] == list(kinds) else []

    return await eventually(as_expected, f"notifications {kinds}")


async def test_one_hears_of_requests_acceptances_and_messages(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "hello")
    heard = await notified(boris, "message", "friend_request")
    assert all(set(row) == FIELDS for row in heard)
    assert {row["from_user_id"] for row in heard} == {anna.user_id}
    assert [row["read"] for row in heard] == [False, False]
    assert [row["from_user_id"] for row in await notified(anna, "friend_accepted")] == [boris.user_id]


async def test_notifications_go_on_page_by_page(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    everything = await notified(boris, "message", "message", "friend_request")
    first = (await boris.get("/v1/notifications", params={"limit": 2})).json()
    rest = (await boris.get("/v1/notifications", params={"limit": 2, "cursor": first["next"]})).json()
    assert first["items"] + rest["items"] == everything
    assert rest["next"] is None


async def unread(person: Person) -> list[str]:
    """The kinds of the unread notifications, newest first, equal in the list and the count."""
    kinds = [row["kind"] for row in items(await person.get("/v1/notifications")) if not row["read"]]
    assert (await person.get("/v1/notifications/unread")).json() == {"unread_count": len(kinds)}
    return kinds


async def test_notifications_of_messages_become_read_with_the_conversation(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two", "three")
    await notified(boris, "message", "message", "message", "friend_request")
    assert (await boris.sees(anna, 2)).status_code == 204
    assert await unread(boris) == ["message", "friend_request"]
    # Writing counts as having seen.
    await boris.sends(anna, "four")
    assert await unread(boris) == ["friend_request"]
    # Whose messages they are is another matter, and so is what comes later.
    assert (await notified(anna, "message", "friend_accepted"))[0]["read"] is False
    await anna.sends(boris, "five")
    await notified(boris, "message", "message", "message", "message", "friend_request")
    assert await unread(boris) == ["message", "friend_request"]


async def test_all_up_to_one_are_read_in_one_call_and_what_came_later_is_not(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    listed = await notified(boris, "message", "message", "friend_request")
    await anna.sends(boris, "three")
    await notified(boris, "message", "message", "message", "friend_request")
    body = {"up_to": listed[0]["notification_id"]}
    first = await boris.ask("POST", "/v1/notifications/read", json=body)
    assert first.status_code == 204
    assert await unread(boris) == ["message"]
    # Repeated, lower, or another's: nothing happens.
    for again in (body, {"up_to": listed[2]["notification_id"]}):
        assert (await boris.ask("POST", "/v1/notifications/read", json=again)).status_code == 204
    assert (await anna.ask("POST", "/v1/notifications/read", json=body)).status_code == 204
    assert await unread(anna) == ["friend_accepted"]
    refused: list[Json] = [{}, body | {"notification_ids": [listed[0]["notification_id"]]}, {"notification_ids": []}]
    for wrong in refused:
        assert (await boris.ask("POST", "/v1/notifications/read", json=wrong)).status_code == 422


async def grouped(person: Person) -> list[tuple[str, str, bool]]:
    """Kind, origin and state of each notification by conversation, read page by page."""
    listed: list[Json] = []
    query = {"group": "conversation", "limit": "1"}
    while True:
        page = (await person.get("/v1/notifications", params=query)).json()
        listed += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    count = (await person.get("/v1/notifications/unread", params={"group": "conversation"})).json()["unread_count"]
    assert count == len([row for row in listed if not row["read"]])
    return [(row["kind"], row["from_user_id"], row["read"]) for row in listed]


async def test_an_unread_conversation_can_be_one_notification_that_is_read_as_one(api: Api) -> None:
    anna, boris = await api.friends()
    clara = await api.person()
    await api.befriend(clara, boris)
    await clara.sends(boris, "one")
    await anna.sends(boris, "one", "two", "three")
    listed = await notified(boris, "message", "message", "message", "message", "friend_request", "friend_request")
    requests = [("friend_request", clara.user_id, False), ("friend_request", anna.user_id, False)]
    of_clara = ("message", clara.user_id, False)
    assert await grouped(boris) == [("message", anna.user_id, False), of_clara, *requests]
    assert (await boris.get("/v1/notifications/unread")).json() == {"unread_count": 6}
    body: Json = {"notification_ids": [listed[0]["notification_id"]], "group": "conversation"}
    async with listening(api.system.url, boris.access_token, query={"notifications": "true"}) as stream:
        for _ in range(2):
            assert (await boris.ask("POST", "/v1/notifications/read", json=body)).status_code == 204
        await anna.sends(boris, "four")
        # Another gateway may have heard only now of what was created before.
        await stream.until(lambda stream: "notification.created" in types_after(stream, "notification.read"))
        # One event, although it was asked twice.
        assert [event.data for event in stream.events if event.type == "notification.read"] == [
            {"notification_ids": [listed[0]["notification_id"]], "from_user_ids": [anna.user_id]}
        ]
    await notified(boris, *["message"] * 5, *["friend_request"] * 2)
    assert await grouped(boris) == [("message", anna.user_id, False), of_clara, *requests]
    assert await unread(boris) == ["message", "message", "friend_request", "friend_request"]
    # One that was deleted is read, and another one stands for its conversation.
    [sent] = await anna.sends(boris, "five")
    assert (await anna.delete(boris, sent["message_id"])).status_code == 204
    boris.written = boris.written.merge(anna.written)
    assert await grouped(boris) == [("message", anna.user_id, False), of_clara, *requests]
    assert await unread(boris) == ["message", "message", "friend_request", "friend_request"]
    for wrong in (body | {"group": "person"}, {"up_to": listed[0]["notification_id"], "group": "conversation"}):
        assert (await boris.ask("POST", "/v1/notifications/read", json=wrong)).status_code == 422
    assert (await boris.get("/v1/notifications", params={"group": "person"})).status_code == 422


def types_after(stream: Stream, first: str) -> list[str]:
    types = [event.type for event in stream.events]
    return types[types.index(first) :] if first in types else []


def created(stream: Stream) -> list[str]:
    return [event.data["from_user_id"] for event in stream.events if event.type == "notification.created"]


async def test_what_is_muted_wants_no_attention_for_as_long_as_it_is_muted(api: Api) -> None:
    anna, boris = await api.friends()
    clara = await api.person()
    await api.befriend(clara, boris)
    await anna.sends(boris, "one", "two")
    await clara.sends(boris, "one")
    boris.written = boris.written.merge(anna.written).merge(clara.written)

    async def counts() -> tuple[int, int, Json]:
        return (
            (await boris.get("/v1/notifications/unread")).json()["unread_count"],
            (await boris.get("/v1/notifications/unread", params={"group": "conversation"})).json()["unread_count"],
            (await boris.get("/v1/conversations/unread")).json(),
        )

    async def mute(muted_until: str | None) -> None:
        patched = await boris.ask("PATCH", f"/v1/conversations/{anna.user_id}", json={"muted_until": muted_until})
        assert patched.status_code == 204

    everything = (5, 4, {"unread_conversations": 2, "unread_messages": 3})
    assert await counts() == everything
    await mute("forever")
    assert await counts() == (3, 3, {"unread_conversations": 1, "unread_messages": 1})
    # Nothing is lost: it is listed as before, and counts when the mute has ended.
    listed = items(await boris.get("/v1/notifications"))
    assert [row["read"] for row in listed] == [False] * 5
    # Live, while the mute holds, and for a client that was away.
    before = boris.position
    query = {"notifications": "true"}
    async with (
        listening(api.system.url, boris.access_token, since=before, query=query) as stream,
        listening(api.system.url, boris.access_token, since=before, query=query) as changing,
    ):
        await anna.sends(boris, "three")
        await clara.sends(boris, "two")
        boris.written = boris.written.merge(anna.written).merge(clara.written)
        for listener in (stream, changing):
            await listener.until(lambda stream: any(event.type == "notification.created" for event in stream.events))
        assert [(event.type, event.data.get("sender_id") or event.data["from_user_id"]) for event in stream.events] == [
            ("message.sent", anna.user_id),
            ("message.sent", clara.user_id),
            ("notification.created", clara.user_id),
        ]
        await mute(None)
        await anna.sends(boris, "four")
        await changing.until(lambda stream: created(stream)[-1] == anna.user_id)
        await mute("forever")
    await clara.sends(boris, "three")
    async with listening(api.system.url, boris.access_token, since=before, query=query) as stream:
        await stream.until(lambda stream: len(created(stream)) >= 2)
        assert created(stream) == [clara.user_id, clara.user_id]
    boris.written = boris.written.merge(anna.written).merge(clara.written)
    everything = (9, 4, {"unread_conversations": 2, "unread_messages": 7})
    soon = rfc3339(datetime.now(UTC) + timedelta(milliseconds=1_500))
    await mute(soon)

    async def ended() -> bool:
        return await counts() == everything

    await eventually(ended, "the end of the mute")
    assert rfc3339(datetime.now(UTC)) >= soon
    await boris.sees(clara, 3)
    assert (await counts())[2] == {"unread_conversations": 1, "unread_messages": 4}


async def test_a_login_from_a_new_device_is_listed_live_and_mailed_to_the_owner_alone(api: Api) -> None:
    anna, boris = await api.friends()
    await notified(anna, "friend_accepted")
    query = {"notifications": "true"}
    async with (
        listening(api.system.url, anna.access_token, since=anna.position, query=query) as stream,
        listening(api.system.url, boris.access_token, since=anna.position, query=query) as other,
    ):
        before = stream.id
        response = await api.log_in(anna.email)
        await stream.until(lambda stream: bool(created(stream)))
        await anna.sends(boris, "hello")
        await other.until(lambda stream: bool(created(stream)))
    (live,) = [event.data for event in stream.events if event.type == "notification.created"]
    assert (live["kind"], live["from_user_id"], live["read"]) == ("new_device", anna.user_id, False)
    # The login of the device that is known now is no news.
    assert (await api.log_in(anna.email, device_token=response.json()["device_token"])).status_code == 201
    listed = await notified(anna, "new_device", "friend_accepted")
    assert listed[0] == live
    assert await grouped(anna) == [("new_device", anna.user_id, False), ("friend_accepted", boris.user_id, False)]
    # A client that was away gets it once; nobody else gets it.
    async with listening(api.system.url, anna.access_token, since=before, query=query) as missed:
        await missed.until(lambda stream: any(event.type == "message.sent" for event in stream.events))
    assert [event.data for event in missed.events if event.type == "notification.created"] == [live]
    assert created(other) == [anna.user_id]
    assert [row["kind"] for row in await notified(boris, "message", "friend_request")] == ["message", "friend_request"]
    assert (
        await anna.ask("POST", "/v1/notifications/read", json={"up_to": live["notification_id"]})
    ).status_code == 204
    assert await unread(anna) == []

    async def mailed() -> str:
        return await api.mail_to(anna.email, "Login from a new device")

    mail = await eventually(mailed, "the mail")
    assert f"{api.system.url}/#/not-me/" in mail
