"""Invariants under concurrent requests: usernames, addresses, friendships."""

import asyncio
from collections import Counter

import httpx

from tests.e2e.people import PASSWORD, Api


def tally(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_of_many_registrations_with_one_address_one_gets_it(api: Api) -> None:
    email = api.registration()["email"]
    forms = [api.registration(email=email) for _ in range(8)]
    answers = await asyncio.gather(*(api.http.post("/v1/users", json=form) for form in forms))
    assert tally(answers) == {201: 8}
    tokens: list[str] = []
    for _ in forms:
        tokens.append(await api.mailed_token(email, *tokens))
    proofs = [{"token": token, "password": PASSWORD} for token in tokens]
    verified = await asyncio.gather(*(api.http.post("/v1/users/verify-email", json=proof) for proof in proofs))
    assert tally(verified) == {204: 1, 410: 7}
    assert (await api.log_in(email)).status_code == 201


async def test_twenty_registrations_with_one_username_make_one_account(api: Api) -> None:
    name = api.registration()["username"]
    spelled = [name, name.upper()]
    forms = [api.registration(username=spelled[number % 2]) for number in range(20)]
    answers = await asyncio.gather(*(api.http.post("/v1/users", json=form) for form in forms))
    assert tally(answers) == {201: 1, 409: 19}
    assert {answer.json().get("code") for answer in answers} == {None, "username_taken"}


async def test_two_who_add_each_other_at_once_are_friends_once(api: Api) -> None:
    people = await api.people(12)
    pairs = list(zip(people[::2], people[1::2], strict=True))
    # A first request that is taken back shows that contact knows both.
    for one, other in pairs:
        await api.befriend(one, other)
        assert (await one.remove(other)).status_code == 204
    for one, other in pairs:
        answers = await asyncio.gather(*(a.add(b) for _ in range(3) for a, b in ((one, other), (other, one))))
        assert {answer.status_code for answer in answers} <= {200, 201}
        assert tally(answers)[201] == 1
        states = {(await a.add(b)).json()["state"] for a, b in ((one, other), (other, one))}
        assert states == {"accepted"}
        assert set(await one.friends()) == {other.user_id}
        assert (await other.write(one, "hello")).status_code == 201


async def test_one_who_removes_while_the_other_adds_ends_in_one_state_for_both(api: Api) -> None:
    for _ in range(5):
        anna, boris = await api.friends()
        await asyncio.gather(anna.remove(boris), boris.add(anna), anna.add(boris), boris.remove(anna))
        anna.written = boris.written = anna.written.merge(boris.written)
        are_friends = boris.user_id in await anna.friends()
        assert (anna.user_id in await boris.friends()) == are_friends
        answers = [await anna.write(boris, "still"), await boris.write(anna, "friends")]
        assert tally(answers) == {201 if are_friends else 403: 2}


async def test_one_token_verifies_once_however_often_at_once(api: Api) -> None:
    account = await api.register()
    token = await api.mailed_token(account["email"])
    body = {"token": token}
    answers = await asyncio.gather(*(api.http.post("/v1/users/verify-email", json=body) for _ in range(10)))
    assert tally(answers) == {204: 10}


async def test_removing_at_once_removes_once(api: Api) -> None:
    anna, boris = await api.friends()
    answers = await asyncio.gather(*(a.remove(b) for _ in range(5) for a, b in ((anna, boris), (boris, anna))))
    assert tally(answers) == {204: 10}
    assert await anna.friends() == {}
