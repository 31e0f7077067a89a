"""Logins whose replica is frozen while they are under way: each is answered, and is one session."""

import asyncio
import signal
import time
from collections import Counter, defaultdict

import pytest

from tests.e2e.people import Api, Person, eventually
from tests.fix_system import wait_until

PEOPLE, LOGINS = 6, 3


async def sessions(person: Person) -> set[str]:
    answer = await person.get("/v1/sessions")
    assert answer.status_code == 200, answer.text
    return {session["session_id"] for session in answer.json()["items"]}


@pytest.mark.parametrize("fragile_system", [2], indirect=True, ids=["two-replicas"])
@pytest.mark.parametrize("part", ["auth", "session"])
async def test_a_login_at_a_frozen_replica_is_made_at_another_one_as_one_session(fragile_api: Api, part: str) -> None:
    api, system = fragile_api, fragile_api.system
    people = await api.people(PEOPLE)
    created: defaultdict[str, set[str]] = defaultdict(set)
    given_up: Counter[str] = Counter()
    for person in people:
        created[person.user_id] = await sessions(person)
    frozen = system.serving(part)[0]

    async def log_in(person: Person) -> float:
        begun = time.monotonic()
        answer = await api.log_in(person.email)
        if answer.status_code == 201:
            created[person.user_id].add(answer.json()["session_id"])
        else:
            # On a machine that is too busy for the deadline of a request.
            assert answer.status_code in (503, 504), answer.text
            given_up[person.user_id] += 1
        return time.monotonic() - begun

    frozen.send(signal.SIGSTOP)
    try:
        taken = await asyncio.gather(*(log_in(person) for person in people for _ in range(LOGINS)))
    finally:
        # What it has taken it does now, unless its supervisor has ended it.
        frozen.send(signal.SIGCONT)
    assert max(taken) > 1.0, "no login was at the frozen replica"
    assert given_up.total() < PEOPLE * LOGINS / 2
    assert sum(map(len, created.values())) + given_up.total() == PEOPLE * (LOGINS + 1), "two logins have one session"

    def whole() -> bool:
        return len(system.serving(part)) == system.replicas and system.is_ready()

    await asyncio.to_thread(wait_until, whole, f"{part} whole again")
    for person in people:
        await log_in(person)

        async def listed(person: Person = person) -> bool:
            return await sessions(person) >= created[person.user_id]

        await eventually(listed, "every session listed")
        others = await sessions(person) - created[person.user_id]
        assert len(others) <= given_up[person.user_id], "a login was made twice"
