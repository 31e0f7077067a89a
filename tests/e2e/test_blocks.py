"""Blocks: what ends, who learns of it, and what the blocked user sees."""

import asyncio
import re

import httpx

from contracts.values.ids import new_id
from tests.e2e.people import Api, Person, assert_problem, items
from tests.fix_system import one_replica
from tests.sse_client import Stream, listening

# Headers whose values differ between two equal answers.
VARYING = {"date", "x-request-id", "vestnik-position", "ratelimit", "retry-after", "traceparent", "etag"}


async def block(one: Person, other: Person, method: str = "PUT") -> httpx.Response:
    return await one.ask(method, f"/v1/blocks/{other.user_id}")


async def blocked(one: Person) -> list[str]:
    rows = items(await one.get("/v1/blocks"))
    assert all(set(row) == {"user_id", "since"} for row in rows)
    return [row["user_id"] for row in rows]


def without_names(text: str, me: Person, other: Person) -> str:
    """The text with the two users, all other ids and all times replaced."""
    names = {me.user_id: "ME", me.username: "ME", other.user_id: "OTHER", other.username: "OTHER"}
    for name, replacement in names.items():
        text = text.replace(name, replacement)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b3[56]\d\d\b", "TIME", text)


async def answers(me: Person, other: Person) -> list[tuple[str, int, dict[str, str], str]]:
    """Makes every request that a user can make about another; returns status, headers and body of each answer."""
    friend, thread = f"/v1/friends/{other.user_id}", f"/v1/conversations/{other.user_id}"
    seen = []
    for method, path, body in (
        ("GET", f"/v1/profiles/{other.user_id}", None),
        ("GET", f"/v1/profiles?query={other.username}", None),
        ("GET", "/v1/friends", None),
        ("GET", "/v1/conversations", None),
        ("GET", f"{thread}/messages", None),
        ("PUT", f"{thread}/seen", {"sequence": 1}),
        ("POST", f"{thread}/messages", {"text": "Are you there?", "client_message_id": "a"}),
        ("PUT", friend, None),
        ("PUT", friend, None),
        ("GET", "/v1/friends?state=outgoing", None),
        ("GET", "/v1/friends?state=incoming", None),
        ("POST", f"{thread}/messages", {"text": "Are you there?", "client_message_id": "b"}),
        ("GET", "/v1/notifications", None),
        ("GET", "/v1/blocks", None),
        ("DELETE", friend, None),
        ("GET", "/v1/friends?state=outgoing", None),
        ("PUT", friend, None),
        ("DELETE", friend, None),
        ("DELETE", friend, None),
        ("PUT", friend, None),
        ("DELETE", friend, None),
        ("PUT", f"{thread}/typing", None),
        ("GET", f"/v1/presence?user_id={other.user_id}", None),
        ("PUT", friend, None),
    ):
        response = await me.ask(method, path, **({} if body is None else {"json": body}))
        headers = {name: "" if name in VARYING else value for name, value in response.headers.items()}
        text = without_names(response.text, me, other)
        headers.pop("content-length", None)
        seen.append((without_names(f"{method} {path}", me, other), response.status_code, headers, text))
    return seen


def events(stream: Stream, me: Person, other: Person) -> list[tuple[str, str]]:
    return [(event.type, without_names(str(event.data), me, other)) for event in stream.events]


async def test_a_blocked_user_sees_the_same_as_one_whose_requests_are_ignored(api: Api) -> None:
    (anna, boris), (vera, gleb) = await asyncio.gather(api.friends(), api.friends())
    for one, other in ((anna, boris), (vera, gleb)):
        await one.sends(other, "Hello")
    async with (
        listening(api.system.url, boris.access_token, since=boris.position, query={"notifications": "true"}) as boriss,
        listening(api.system.url, gleb.access_token, since=gleb.position, query={"notifications": "true"}) as glebs,
    ):
        assert (await block(anna, boris)).status_code == 204
        assert (await vera.remove(gleb)).status_code == 204
        as_blocked, as_ignored = await answers(boris, anna), await answers(gleb, vera)
        for blocked_answer, ignored_answer in zip(as_blocked, as_ignored, strict=True):
            assert blocked_answer == ignored_answer
        statuses = [status for _, status, _, _ in as_ignored]
        assert statuses[4:9] == [403, 403, 403, 201, 200]
        assert statuses[-1] == 429

        # A request from before a block stays as it is.
        assert (await block(anna, boris, "DELETE")).status_code == 204
        for one, other in ((anna, boris), (vera, gleb)):
            assert (await one.add(other)).status_code == 201
            assert (await other.add(one)).json()["state"] == "accepted"
            assert (await other.remove(one)).status_code == 204
            assert (await other.add(one)).status_code == 201
        pending = await boris.friends("outgoing")
        assert (await block(anna, boris)).status_code == 204
        boris.written = boris.written.merge(anna.written)
        assert await boris.friends("outgoing") == pending != {}
        for blocked_answer, ignored_answer in zip(await answers(boris, anna), await answers(gleb, vera), strict=True):
            assert blocked_answer == ignored_answer
        for stream in (boriss, glebs):
            await stream.until(lambda stream: [event.type for event in stream.events].count("friendship.removed") >= 8)
        assert events(boriss, boris, anna) == events(glebs, gleb, vera)


async def test_a_request_is_dropped_with_the_block_and_may_be_made_again_at_once(api: Api) -> None:
    (anna, boris), clara = await api.friends(), await api.person()
    assert (await clara.add(anna)).status_code == 201
    for other in (boris, clara):
        async with listening(api.system.url, other.access_token, since=other.position) as live:
            assert (await block(anna, other)).status_code == 204
            # As before the block, or made during it.
            assert (await other.add(anna)).status_code == (201 if other is boris else 200)
            assert list(await other.friends("outgoing")) == [anna.user_id]
            assert other.user_id not in await anna.friends("incoming")
            assert (await block(anna, other, "DELETE")).status_code == 204
            other.written = other.written.merge(anna.written)
            assert await other.friends("outgoing") == {}
            assert other.user_id not in await anna.friends("incoming")
            await live.until(lambda stream: bool(stream.events) and stream.events[-1].data.get("state") == "removed")
        assert (await other.add(anna)).status_code == 201
        assert (await anna.add(other)).json()["state"] == "accepted"


async def test_a_block_ends_everything_between_the_two_and_only_the_blocker_is_notified(api: Api) -> None:
    anna, boris = await api.friends()
    phone = await api.again(anna, device_token=anna.device_token)
    await boris.sends(anna, "Hello")
    start = boris.position
    async with listening(api.system.url, phone.access_token, since=start, query={"notifications": "true"}) as phones:
        assert (await block(anna, boris)).status_code == 204
        assert (await boris.add(anna)).status_code == 201
        assert (await boris.remove(anna)).status_code == 204
        assert (await boris.write(anna, "Hello?")).status_code == 403
        assert (await anna.write(boris, "Bye")).status_code == 403
        for one, other in ((anna, boris), (boris, anna)):
            typing = await one.ask("PUT", f"/v1/conversations/{other.user_id}/typing")
            assert_problem(typing, 403, "not_friends")
            assert items(await one.get("/v1/presence", params={"user_id": other.user_id})) == []
        assert_problem(await anna.add(boris), 409, "blocked")
        assert await anna.friends("incoming") == await anna.friends() == {}
        assert await blocked(anna) == [boris.user_id]
        assert await blocked(boris) == []
        assert await anna.conversation(boris) is None
        for _ in range(2):
            assert (await block(anna, boris, "DELETE")).status_code == 204
        assert await blocked(anna) == []
        assert (await anna.add(boris)).status_code == 201
        await phones.until(lambda stream: bool(stream.events) and stream.events[-1].data.get("state") == "outgoing")
        delivered = [(event.type, event.data.get("blocked", event.data.get("state"))) for event in phones.events]
        assert delivered == [
            ("friendship.removed", "removed"),
            ("block.changed", True),
            ("block.changed", False),
            ("friendship.created", "outgoing"),
        ]
    # A device that was away syncs the same changes.
    async with listening(api.system.url, phone.access_token, since=start) as late:
        await late.until(lambda stream: bool(stream.events) and stream.events[-1].data.get("state") == "outgoing")
        assert [event.type for event in late.events] == [kind for kind, _ in delivered]


async def test_nothing_is_sent_after_a_block_that_raced_sending(api: Api) -> None:
    anna, boris = await api.friends()

    async def send(number: int) -> int:
        response = await boris.write(anna, f"Message {number}")
        assert response.status_code in {201, 403}, response.text
        return response.status_code

    *statuses, response = await asyncio.gather(*(send(number) for number in range(20)), block(anna, boris))
    assert isinstance(response, httpx.Response)
    assert response.status_code == 204
    boris.written = boris.written.merge(anna.written)
    assert_problem(await boris.write(anna, "One more"), 403, "not_friends")
    assert (await block(anna, boris, "DELETE")).status_code == 204
    await api.befriend(anna, boris)
    # The history returns with the friendship, and has what was acknowledged.
    assert len(await anna.messages(boris)) == statuses.count(201)


@one_replica
async def test_nobody_blocks_themselves_or_nobody(api: Api) -> None:
    anna = await api.person()
    for method in ("PUT", "DELETE"):
        assert_problem(await block(anna, anna, method), 422, "self_block")
        assert_problem(await anna.ask(method, f"/v1/blocks/{new_id()}"), 404, "user_not_found")
        assert_problem(await anna.ask(method, "/v1/blocks/somebody"), 404, "user_not_found")
    assert_problem(await anna.get("/v1/blocks", params={"cursor": "?"}), 422, "invalid")
