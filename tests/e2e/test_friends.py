"""Friendship: asked, accepted, declined, withdrawn, removed, listed."""

import asyncio

import httpx

from contracts.values.ids import new_id
from tests.e2e.people import Api, Person, assert_problem, eventually
from tests.fix_system import one_replica


async def ask(one: Person, other: Person) -> httpx.Response:
    """Sends a friend request once contact knows both users."""
    answers: list[httpx.Response] = []

    async def known() -> bool:
        answers.append(await one.add(other))
        return answers[-1].status_code != 404

    await eventually(known, "both known to contact")
    return answers[-1]


async def test_asking_and_agreeing_makes_friends(api: Api) -> None:
    anna, boris = await api.people(2)
    asked = await ask(anna, boris)
    assert (asked.status_code, asked.json()) == (201, {"user_id": boris.user_id, "state": "requested"})
    agreed = await boris.add(anna)
    assert (agreed.status_code, agreed.json()) == (200, {"user_id": anna.user_id, "state": "accepted"})
    for response in (await anna.add(boris), await boris.add(anna)):
        assert response.status_code == 200
        assert response.json()["state"] == "accepted"


async def test_asking_twice_is_asking_once(api: Api) -> None:
    anna, boris = await api.people(2)
    await ask(anna, boris)
    again = await anna.add(boris)
    assert (again.status_code, again.json()) == (200, {"user_id": boris.user_id, "state": "requested"})


async def test_both_sides_see_a_request(api: Api) -> None:
    anna, boris = await api.people(2)
    await ask(anna, boris)
    assert (await anna.friends("outgoing"))[boris.user_id]["state"] == "outgoing"

    async def incoming() -> bool:
        return anna.user_id in await boris.friends("incoming")

    await eventually(incoming, "the request")
    assert await anna.friends() == await boris.friends() == {}


async def test_friends_are_listed_on_both_sides(api: Api) -> None:
    anna, boris = await api.friends()
    row = (await boris.friends())[anna.user_id]
    assert set(row) == {"user_id", "state", "since"}
    assert row["state"] == "accepted"
    assert row["since"].endswith("Z")

    async def listed() -> bool:
        return boris.user_id in await anna.friends()

    await eventually(listed, "the friend")
    assert await boris.friends("incoming") == {}


async def test_a_friendship_is_removed_once(api: Api) -> None:
    anna, boris = await api.friends()
    for _ in range(2):
        response = await anna.remove(boris)
        assert (response.status_code, response.content) == (204, b"")
    assert (await boris.remove(anna)).status_code == 204
    assert await anna.friends() == {}
    assert (await anna.write(boris, "still there?")).status_code == 403


async def test_a_request_is_declined_or_withdrawn(api: Api) -> None:
    anna, boris, vera = await api.people(3)
    await ask(anna, boris)
    assert (await boris.remove(anna)).status_code == 204
    await ask(vera, boris)
    assert (await vera.remove(boris)).status_code == 204
    assert await vera.friends("outgoing") == {}
    assert await boris.friends("incoming") == {}
    assert (await boris.add(anna)).status_code == 201


@one_replica
async def test_nobody_befriends_themselves_or_nobody(api: Api) -> None:
    anna = await api.person()
    assert_problem(await anna.add(anna), 422, "self_friendship")
    assert_problem(await anna.ask("PUT", f"/v1/friends/{new_id()}"), 404, "user_not_found")
    assert_problem(await anna.ask("PUT", "/v1/friends/somebody"), 404, "user_not_found")
    assert_problem(await anna.get("/v1/friends", params={"state": "enemy"}), 422, "invalid")


async def test_the_list_of_friends_goes_on_page_by_page(api: Api) -> None:
    anna = await api.person()
    others = await api.people(5)
    await asyncio.gather(*(api.befriend(other, anna) for other in others))
    query: dict[str, str | int] = {"limit": 2}
    user_ids: list[str] = []
    while query.get("cursor", "") is not None:
        page = (await anna.get("/v1/friends", params=query)).json()
        assert len(page["items"]) <= 2
        user_ids += [row["user_id"] for row in page["items"]]
        query["cursor"] = page["next"]
    assert sorted(user_ids) == sorted(other.user_id for other in others)
