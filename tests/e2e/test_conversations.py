"""Seen marks, unread counts and the list of conversations."""

import asyncio

from tests.e2e.people import Api, Json, Person, assert_problem, eventually

FIELDS = {"user_id", "conversation_id", "last_message", "unread_count", "seen_sequence", "peer_seen_sequence"}


async def row(one: Person, other: Person, **expected: int) -> Json:
    """Waits until the conversation in the user's list is as expected; returns it."""

    async def found() -> Json | None:
        listed = await one.conversation(other)
        fits = listed is not None and all(listed[field] == value for field, value in expected.items())
        return listed if fits else None

    listed = await eventually(found, f"a conversation with {expected}")
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
    found: list[str] = []
    for size in (2, 2, 1):
        page = (await anna.get("/v1/conversations", params=query)).json()
        assert len(page["items"]) == size
        found += [listed["user_id"] for listed in page["items"]]
        query["cursor"] = page["next"]
    assert page["next"] is None
    assert found == [other.user_id for other in expected]


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
