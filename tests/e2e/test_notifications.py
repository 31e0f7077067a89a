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
