"""Read-your-own-writes: with the header through any gateway, without it through the same one."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from contracts.positions import Position
from tests.e2e.people import Api, assert_problem
from tests.fix_system import System, one_replica

# One that the system itself might have written before positions were encrypted.
PLAIN = Position.at("MESSAGING", 1).encode()


@pytest_asyncio.fixture
async def one_line(system: System) -> AsyncIterator[Api]:
    """One connection, and so one gateway."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=system.url, timeout=60, limits=limits, verify=False) as http:
        yield Api(system, http)


async def test_what_one_wrote_is_in_the_next_read_through_one_gateway(one_line: Api) -> None:
    anna, boris = await one_line.friends()
    anna.tells_position = boris.tells_position = False
    for number in range(1, 21):
        await anna.sends(boris, f"number {number}")
        assert (await anna.messages(boris, limit=1))[0]["sequence"] == number
        listed = await anna.conversation(boris)
        assert listed is not None
        assert listed["last_message"]["sequence"] == number


async def test_every_kind_of_write_is_in_the_next_read_through_one_gateway(one_line: Api) -> None:
    anna, boris = await one_line.people(2)
    anna.tells_position = boris.tells_position = False
    await one_line.befriend(anna, boris)
    assert anna.user_id in await boris.friends()
    other = await one_line.again(anna)
    other.tells_position = False
    listed = (await other.get("/v1/sessions")).json()["items"]
    assert {row["session_id"] for row in listed} == {anna.session_id, other.session_id}
    assert (await other.ask("DELETE", f"/v1/sessions/{anna.session_id}")).status_code == 204
    assert [row["session_id"] for row in (await other.get("/v1/sessions")).json()["items"]] == [other.session_id]
    assert (await other.remove(boris)).status_code == 204
    assert await other.friends() == {}


async def test_a_received_message_is_in_the_recipients_next_read_through_one_gateway(one_line: Api) -> None:
    anna, boris = await one_line.people(2)
    anna.tells_position = boris.tells_position = False
    assert (await anna.ask("PUT", f"/v1/friends/{boris.user_id}")).status_code == 201
    assert anna.user_id in await boris.friends("incoming")
    assert (await boris.ask("PUT", f"/v1/friends/{anna.user_id}")).status_code == 200
    assert boris.user_id in await anna.friends()
    for number in range(1, 21):
        await anna.sends(boris, f"number {number}")
        assert (await boris.messages(anna, limit=1))[0]["sequence"] == number
        assert (await boris.sees(anna, number)).status_code == 204
        assert "seen_at" in (await anna.messages(boris, limit=1))[0]
    assert (await anna.remove(boris)).status_code == 204
    assert await boris.friends() == {}
    assert_problem(await boris.write(anna, "still there?"), 403, "not_friends")


async def test_a_position_makes_ones_own_writes_visible_through_any_gateway(api: Api) -> None:
    anna, boris = await api.friends()
    for number in range(1, 21):
        await anna.sends(boris, f"number {number}")
        # Several connections at once: wherever they lead, the message is there.
        for read in await asyncio.gather(*(anna.messages(boris, limit=1) for _ in range(4))):
            assert read[0]["sequence"] == number


async def test_a_position_from_another_person_makes_their_write_visible(api: Api) -> None:
    anna, boris = await api.friends()
    for number in range(1, 21):
        sent = await anna.write(boris, f"number {number}")
        response = await boris.get(
            f"/v1/conversations/{anna.user_id}/messages",
            headers={"Vestnik-Position": sent.headers["Vestnik-Position"]},
        )
        assert response.json()["items"][0]["sequence"] == number


async def test_every_write_and_every_list_has_a_position(api: Api) -> None:
    anna, boris = await api.friends()
    answers = [
        await anna.write(boris, "hello"),
        await boris.sees(anna, 1),
        await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "x"}),
        await anna.get("/v1/sessions"),
        await anna.get("/v1/friends"),
        await anna.get("/v1/conversations"),
        await anna.get(f"/v1/conversations/{boris.user_id}/messages"),
        await anna.get("/v1/notifications"),
        await anna.remove(boris),
    ]
    for answer in answers:
        assert answer.is_success, answer.text
        assert answer.headers["Vestnik-Position"], answer.request.url


async def test_a_position_of_this_system_that_no_read_model_reaches_is_an_outage_and_no_mistake(api: Api) -> None:
    """As one whose events are behind a deposed leader, or were lost."""
    anna = await api.person()
    far = api.sealed.seal(Position({"CONTACT": 2**53 - 1}))
    answer = await anna.get("/v1/friends", headers={"Vestnik-Position": far})
    assert_problem(answer, 503, "read_model_behind")
    assert answer.headers["Retry-After"]


@one_replica
async def test_a_position_that_is_none_is_refused(api: Api) -> None:
    anna = await api.person()
    for wrong in ("nonsense", "e30x", "x" * 5000, PLAIN):
        assert_problem(await anna.get("/v1/friends", headers={"Vestnik-Position": wrong}), 422, "invalid")
