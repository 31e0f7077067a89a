"""Seen marks, unread counts and the list of conversations."""

import asyncio

import httpx

from tests.e2e.people import Api, Json, Person, assert_problem, eventually
from tests.fix_system import one_replica
from tests.sse_client import listening

FIELDS = {
    *("user_id", "conversation_id", "last_message", "unread_count", "seen_sequence", "peer_seen_sequence"),
    *("pinned", "archived"),
}


async def row(one: Person, other: Person, **expected: int) -> Json:
    """Waits until the conversation in the user's list is as expected; returns it."""

    async def as_expected() -> Json | None:
        listed = await one.conversation(other)
        fits = listed is not None and all(listed[field] == value for field, value in expected.items())
        return listed if fits else None

    listed = await eventually(as_expected, f"a conversation with {expected}")
    assert listed is not None
    return listed


async def test_a_message_is_unread_until_it_is_seen(api: Api) -> None:
    anna, boris = await api.friends()
    sent = await anna.sends(boris, "one", "two", "three")
    listed = await row(boris, anna, unread_count=3)
    assert set(listed) == FIELDS
    assert listed["last_message"]["message_id"] == sent[-1]["message_id"]
    assert (listed["seen_sequence"], listed["peer_seen_sequence"]) == (0, 3)
    assert (await boris.sees(anna, 2)).status_code == 204
    assert (await row(boris, anna))["unread_count"] == 1
    assert (await row(boris, anna))["seen_sequence"] == 2
    assert (await row(anna, boris, peer_seen_sequence=2))["unread_count"] == 0


async def test_seen_goes_only_forward(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two", "three")
    await row(boris, anna, unread_count=3)
    for sequence in (3, 1, 2, 3):
        assert (await boris.sees(anna, sequence)).status_code == 204
        assert (await row(boris, anna))["seen_sequence"] == 3


async def test_ones_own_message_counts_as_seen(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    await row(boris, anna, unread_count=2)
    await boris.sends(anna, "three")
    listed = await row(boris, anna)
    assert (listed["unread_count"], listed["seen_sequence"]) == (0, 3)
    assert (await row(anna, boris, unread_count=1))["seen_sequence"] == 2


async def test_the_sender_sees_when_a_message_was_seen(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    await row(boris, anna, unread_count=2)
    assert all(message.get("seen_at") is None for message in await anna.messages(boris))
    assert (await boris.sees(anna, 1)).status_code == 204

    async def seen() -> bool:
        return (await anna.messages(boris, after=0))[0].get("seen_at") is not None

    await eventually(seen, "the first message seen")
    assert (await anna.messages(boris))[0].get("seen_at") is None


async def test_what_was_never_sent_cannot_be_seen(api: Api) -> None:
    anna, boris = await api.friends()
    assert_problem(await boris.sees(anna, 1), 404, "message_not_found")
    await anna.sends(boris, "one")
    assert_problem(await boris.sees(anna, 2), 404, "message_not_found")
    stranger = await api.person()
    assert_problem(await stranger.sees(anna, 1), 403, "not_friends")


@one_replica
async def test_what_is_no_sequence_of_a_message_cannot_be_seen(api: Api) -> None:
    anna, boris = await api.friends()
    path = f"/v1/conversations/{boris.user_id}/seen"
    for sequence in (0, -1, 1.5, "1", True, None, 2**53, 2**64):
        problem = assert_problem(await anna.ask("PUT", path, json={"sequence": sequence}), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/sequence"], sequence


async def test_conversations_are_listed_newest_first_page_by_page(api: Api) -> None:
    anna = await api.person()
    others = await api.people(5)
    await asyncio.gather(*(api.befriend(other, anna) for other in others))
    for other in others:
        await anna.sends(other, f"to {other.username}")
    await anna.sends(others[1], "once more")
    expected = [others[1], others[4], others[3], others[2], others[0]]
    query: dict[str, str | int] = {"limit": 2}
    user_ids: list[str] = []
    for size in (2, 2, 1):
        page = (await anna.get("/v1/conversations", params=query)).json()
        assert len(page["items"]) == size
        user_ids += [listed["user_id"] for listed in page["items"]]
        query["cursor"] = page["next"]
    assert page["next"] is None
    assert user_ids == [other.user_id for other in expected]


async def test_only_a_message_moves_a_conversation_in_the_list(api: Api) -> None:
    anna = await api.person()
    others = await api.people(3)
    for other in others:
        await api.befriend(anna, other)
    early, late, silent = others
    await anna.sends(early, "first")
    await late.sends(anna, "second")
    expected = [late.user_id, early.user_id, silent.user_id]

    async def listed() -> list[str]:
        return [row["user_id"] for row in (await anna.get("/v1/conversations")).json()["items"]]

    async def as_expected() -> bool:
        return await listed() == expected

    await eventually(as_expected, "both messages in the list")
    # Seen, and befriended once more: neither is a message.
    await early.sees(anna, 1)
    await anna.remove(early)
    await api.befriend(early, anna)
    anna.written = anna.written.merge(early.written)
    assert await listed() == expected
    # One without messages stands where it was opened, now last.
    await anna.remove(silent)
    await api.befriend(silent, anna)
    anna.written = anna.written.merge(silent.written)
    assert await listed() == [silent.user_id, late.user_id, early.user_id]


async def test_a_new_friendship_opens_a_conversation_for_both(api: Api) -> None:
    anna, boris = await api.friends()
    assert await anna.messages(boris) == await boris.messages(anna) == []
    for one, other in ((anna, boris), (boris, anna)):
        listed = await one.conversation(other)
        assert listed is not None
        assert set(listed) == FIELDS
        assert (listed["last_message"], listed["unread_count"]) == (None, 0)


async def change(one: Person, other: Person, **patch: object) -> httpx.Response:
    return await one.ask("PATCH", f"/v1/conversations/{other.user_id}", json=patch)


async def test_settings_are_ones_own_and_reach_ones_devices_live_and_after_an_absence(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "before")
    before = anna.position
    async with (
        listening(api.system.url, anna.access_token, since=before) as phone,
        listening(api.system.url, boris.access_token, since=before) as others,
    ):
        assert (await change(anna, boris, muted_until="forever", pinned=True)).status_code == 204
        assert (await change(anna, boris, muted_until="forever", pinned=True)).status_code == 204
        assert (await change(anna, boris, muted_until="2999-01-02T05:04:05.678+02:00", pinned=None)).status_code == 204
        await phone.until(lambda stream: len(stream.events) >= 2)
        shown = {"user_id": boris.user_id, "conversation_id": phone.events[0].data["conversation_id"]}
        latest = shown | {"muted_until": "2999-01-02T03:04:05.678Z", "pinned": False, "archived": False}
        assert [(event.type, event.data) for event in phone.events] == [
            ("conversation.updated", shown | {"muted_until": "forever", "pinned": True, "archived": False}),
            ("conversation.updated", latest),
        ]
        for draft in ("Dear Boris,\n", ""):
            assert (await change(anna, boris, draft=draft)).status_code == 204
            await phone.until(lambda stream: stream.events[-1].data.get("draft") is not None)
            assert phone.events.pop().data == shown | {"draft": draft}
        await anna.sends(boris, "the other person's first event")
        await others.until(lambda stream: len(stream.events) >= 1)
        assert [event.type for event in others.events] == ["message.sent"]
    async with listening(api.system.url, anna.access_token, since=before) as stream:
        await stream.until(lambda stream: any(event.type == "message.sent" for event in stream.events))
        updates = [event.data for event in stream.events if event.type == "conversation.updated"]
        assert updates[-1] == latest
    listed = await row(anna, boris)
    assert set(listed) == {*FIELDS, "muted_until"}
    assert {name: listed[name] for name in latest} == latest
    assert set(await row(boris, anna)) == FIELDS


async def test_a_draft_is_in_ones_own_list_until_it_is_emptied(api: Api) -> None:
    anna, boris = await api.friends()
    assert (await change(anna, boris, draft="Dear Boris,\n")).status_code == 204
    assert (await row(anna, boris))["draft"] == "Dear Boris,\n"
    assert "draft" not in await row(boris, anna)
    assert (await change(anna, boris, draft=None)).status_code == 204
    assert set(await row(anna, boris)) == FIELDS
    for wrong in ("x" * 4_001, "\0", 1):
        assert_problem(await change(anna, boris, draft=wrong), 422, "invalid")


async def test_pinned_conversations_are_listed_first_page_by_page(api: Api) -> None:
    anna = await api.person()
    others = await api.people(4)
    await asyncio.gather(*(api.befriend(other, anna) for other in others))
    for other in others:
        await anna.sends(other, "hello")
    for other in others[:2]:
        assert (await change(anna, other, pinned=True, archived=True)).status_code == 204
    query: dict[str, str | int] = {"limit": 1}
    listed: list[str] = []
    while True:
        page = (await anna.get("/v1/conversations", params=query)).json()
        listed += [item["user_id"] for item in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert listed == [others[number].user_id for number in (1, 0, 3, 2)]
    for archived, expected in (("true", listed[:2]), ("false", listed[2:])):
        page = (await anna.get("/v1/conversations", params={"archived": archived})).json()
        assert [item["user_id"] for item in page["items"]] == expected
    assert (await anna.get("/v1/conversations", params={"archived": "maybe"})).status_code == 422


@one_replica
async def test_settings_that_make_no_sense_are_refused(api: Api) -> None:
    anna, boris = await api.friends()
    stranger = await api.person()
    times = ("", "now", "Forever", "2026-13-01T00:00:00Z", "2026-01-31", "2026-01-31T12:00:00", "10000-01-01T00:00:00Z")
    beyond = ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999-23:59", "x" * 65)
    for wrong in (*times, *beyond, 5, True, [1]):
        problem = assert_problem(await change(anna, boris, muted_until=wrong), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/muted_until"], wrong
    for patch in ({"pinned": "yes"}, {"archived": 1}, {"muted": True}):
        assert_problem(await change(anna, boris, **patch), 422, "invalid")
    for who, whom in ((stranger, boris), (anna, anna), (anna, stranger)):
        assert_problem(await change(who, whom, pinned=True), 403, "not_friends")
    # Times that are over mute nothing, and an empty patch changes nothing.
    for patch in ({"muted_until": "0001-01-01T00:00:00+23:59"}, {"muted_until": "2020-01-01T00:00:00Z"}, {}):
        assert (await change(anna, boris, **patch)).status_code == 204
    assert set(await row(anna, boris)) == FIELDS
