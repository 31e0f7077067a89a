"""Notifications: of requests, acceptances and messages."""

from tests.e2e.people import Api, Json, Person, eventually, items

FIELDS = {"notification_id", "kind", "from_user_id", "at", "read"}


async def notified(person: Person, *kinds: str) -> list[Json]:
    """The person's notifications, as soon as they are of these kinds, newest first."""

    async def found() -> list[Json]:
        listed = items(await person.get("/v1/notifications"))
        return listed if [row["kind"] for row in listed] == list(kinds) else []

    return await eventually(found, f"notifications {kinds}")


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
