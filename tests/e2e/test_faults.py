"""Parts killed with SIGKILL in the middle of traffic: nothing acknowledged is lost, they come back by themselves."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable

import pytest
from httpx import Response

from contracts.services import REGISTRY
from tests.e2e.history import History
from tests.e2e.operators import operator
from tests.e2e.people import PASSWORD, Api, Json, Person, eventually
from tests.fix_system import wait_until
from tests.processes import family

SERVICES = [service.name for service in REGISTRY.values() if not service.optional]
SERVERS = ["nats", "postgres"]


async def answered(ask: Callable[[], Awaitable[Response]]) -> int:
    """Retries until the status is final: a second gateway may become ready later, and refuses until it knows the
    revocations."""
    async with asyncio.timeout(60):
        while (status := (await ask()).status_code) == 503:
            await asyncio.sleep(0.02)
    return status


@pytest.mark.parametrize("part", [*SERVICES, *SERVERS])
async def test_a_killed_part_loses_nothing_and_comes_back(fragile_api: Api, part: str) -> None:
    api, system = fragile_api, fragile_api.system
    history = await History.among(api, 3)
    number = len(system.serving(part))
    assert number == (1 if part in SERVERS else system.replicas)
    async with history.traffic():
        await history.grows_by(50)
        killed = system.serving(part)
        for process in killed:
            process.kill()
        await history.grows_by(50)

        def back() -> bool:
            return len(set(system.serving(part)) - set(killed)) == number and system.is_ready()

        await asyncio.to_thread(wait_until, back, f"{part} back")
        await history.grows_by(50)
    await history.check()
    # The whole way works again, whatever was killed: registration, mail, login, friendship, message.
    anna, boris = await api.friends()
    await anna.sends(boris, "after the fault")


@pytest.mark.parametrize("part", ["messaging", "gateway"])
async def test_a_part_that_hangs_is_replaced_and_nothing_is_lost(fragile_api: Api, part: str) -> None:
    api, system = fragile_api, fragile_api.system
    history = await History.among(api, 3)
    async with history.traffic():
        await history.grows_by(20)
        hanging = system.serving(part)[0]
        hanging.send(signal.SIGSTOP)

        def replaced() -> bool:
            serving = system.serving(part)
            return hanging not in serving and len(serving) == system.replicas and system.is_ready()

        await asyncio.to_thread(wait_until, replaced, f"{part} replaced")
        await history.grows_by(20)
    await history.check()


async def test_while_the_database_stands_still_what_needs_it_is_refused_together(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "before")
    # A process of messaging that remembers nothing has to ask for each message whether it was sent before.
    killed = system.serving("messaging")
    for process in killed:
        process.kill()

    def back() -> bool:
        return len(set(system.serving("messaging")) - set(killed)) == len(killed) and system.is_ready()

    await asyncio.to_thread(wait_until, back, "messaging back")
    servers = [process for server in system.serving("postgres") for process in family(server.pid)]
    for server in servers:
        server.send(signal.SIGSTOP)
    try:
        answers = await asyncio.gather(
            *(anna.write(boris, "meanwhile", str(number)) for number in range(20)),
            *(boris.get(path) for path in ("/v1/conversations", "/v1/friends", "/v1/sessions", "/v1/notifications")),
            boris.get(f"/v1/conversations/{anna.user_id}/messages"),
        )
        # A read that waits for the write just made may meet its own limit first.
        allowed = {"unavailable", "deadline_exceeded", "read_model_behind"}
        assert {answer.json()["code"] for answer in answers} <= allowed
        assert all(answer.headers.get("Retry-After") for answer in answers)
        await asyncio.to_thread(wait_until, lambda: not system.is_ready(), "/readyz says so")
    finally:
        for server in servers:
            server.send(signal.SIGCONT)
    await asyncio.to_thread(wait_until, system.is_ready, "ready again")
    for number in range(20):
        assert await answered(lambda number=number: anna.write(boris, "meanwhile", str(number))) in {200, 201}  # type: ignore[misc]
    assert len(await boris.messages(anna)) == 21


async def test_services_start_while_the_database_stands_still(fragile_api: Api) -> None:
    """What needs no database is answered: operators see streams and states."""
    api, system = fragile_api, fragile_api.system
    alice = await operator(api)
    user = f"aggregate?kind=user&id={alice.user_id}"
    servers = [process for server in system.serving("postgres") for process in family(server.pid)]
    for server in servers:
        server.send(signal.SIGSTOP)
    try:
        for part in ("operator", "session"):
            for process in system.serving(part):
                process.kill()

        async def answers(path: str, status: int) -> list[Json]:
            answer = await alice.get(f"/v1/ops/{path}")
            return [answer.json()] if answer.status_code == status else []

        [shown] = await eventually(lambda: answers("status", 200), "the status of a new process")
        assert shown["streams"]
        assert {projection["state"] for projection in shown["projections"]} == {"unknown"}
        for path in ("events", user):
            await eventually(lambda path=path: answers(path, 200), path)  # type: ignore[misc]
        [refused] = await eventually(lambda: answers("anomalies", 503), "what needs the database")
        assert "database does not answer" in refused["detail"]
        # Nothing is appended before it is known that the stream has all that read models have applied.

        async def refused_login() -> list[Json]:
            answer = await api.log_in(alice.username)
            assert answer.status_code in {503, 504}
            return [answer.json()] if answer.status_code == 503 else []

        [refused] = await eventually(refused_login, "a login that is refused and not given up at its limit")
        assert refused["code"] == "unavailable"
    finally:
        for server in servers:
            server.send(signal.SIGCONT)
    await asyncio.to_thread(wait_until, system.is_ready, "ready again")
    assert (await answered(lambda: alice.get("/v1/ops/anomalies"))) == 200
    await api.again(alice)


@pytest.mark.parametrize("fragile_system", [1], indirect=True, ids=["one-replica"])
async def test_a_stop_while_the_event_store_does_not_answer_answers_every_request_with_a_code(
    fragile_api: Api,
) -> None:
    api, system = fragile_api, fragile_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "before")
    servers = [process for server in system.serving("nats") for process in family(server.pid)]
    stopped = [*system.serving("messaging"), *system.serving("contact"), *system.serving("gateway")]
    for server in servers:
        server.send(signal.SIGSTOP)
    try:
        requests = [
            *(asyncio.create_task(anna.write(boris, "meanwhile", f"slow-{number}")) for number in range(20)),
            *(asyncio.create_task(boris.remove(anna)) for _ in range(2)),
        ]

        async def running() -> bool:
            [line] = re.findall("^vestnik_http_requests_running (.*)$", (await api.http.get("/metrics")).text, re.M)
            return float(line) >= 20

        await eventually(running, "all requests in progress")
        for process in stopped:
            process.send(signal.SIGTERM)
        answers = await asyncio.gather(*requests)
    finally:
        for server in servers:
            server.send(signal.SIGCONT)
    assert {answer.status_code for answer in answers} <= {503, 504}
    assert all(answer.json()["code"] and answer.headers["Retry-After"] for answer in answers)

    def back() -> bool:
        return not any(process.alive for process in stopped) and system.is_ready()

    await asyncio.to_thread(wait_until, back, "ready again")
    await answered(lambda: anna.get("/v1/users/me"))


async def test_one_of_two_replicas_killed_is_hardly_noticed(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    history = await History.among(api, 3)
    async with history.traffic():
        for part in ("messaging", "contact"):
            await history.grows_by(30)
            system.serving(part)[0].kill()
            await history.grows_by(30)
    await asyncio.to_thread(
        wait_until,
        lambda: all(len(system.serving(part)) == system.replicas for part in ("messaging", "contact")),
        "all replicas back",
    )
    await asyncio.to_thread(system.wait_ready)
    await history.check()


async def test_a_spent_token_stays_spent_and_a_revoked_session_stays_revoked(fragile_api: Api) -> None:
    api, system = fragile_api, fragile_api.system
    person = await api.person()
    stolen = await api.again(person)
    again = {"refresh_token": stolen.refresh_token}
    assert (await person.ask("DELETE", f"/v1/sessions/{stolen.session_id}")).status_code == 204
    for part in ("session", "gateway"):
        killed = system.serving(part)
        for process in killed:
            process.kill()

        def back(part: str = part, killed: list[object] = [*killed]) -> bool:  # noqa: B006 - bound now, never changed
            return len(set(system.serving(part)) - set(killed)) == len(killed) and system.is_ready()

        await asyncio.to_thread(wait_until, back, f"{part} back")
        assert await answered(lambda: stolen.get("/v1/users/me")) == 401
        assert await answered(lambda: api.http.post("/v1/sessions/refresh", json=again)) == 401
    assert await answered(lambda: person.get("/v1/users/me")) == 200


@pytest.mark.parametrize("part", ["auth", "session"])
async def test_a_password_changed_in_the_middle_of_a_fault_ends_all_other_sessions_or_was_not_changed(
    fragile_api: Api, part: str
) -> None:
    api, system = fragile_api, fragile_api.system
    people = await api.people(6)
    others = [await api.again(person) for person in people]

    async def change(person: Person) -> int:
        body = {"current_password": PASSWORD, "new_password": "another horse"}
        return (await person.ask("PUT", "/v1/users/me/password", json=body)).status_code

    changes = [asyncio.create_task(change(person)) for person in people]
    await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
    killed = system.serving(part)
    for process in killed:
        process.kill()
    answers = await asyncio.gather(*changes)

    def back() -> bool:
        return len(set(system.serving(part)) - set(killed)) == len(killed) and system.is_ready()

    await asyncio.to_thread(wait_until, back, f"{part} back")
    for person, other, answer in zip(people, others, answers, strict=True):
        changed = (await api.log_in(person.username, "another horse")).status_code == 201
        assert changed or answer != 204
        if changed:

            async def refused(other: Person = other) -> bool:
                return (await other.get("/v1/users/me")).status_code == 401

            await eventually(refused, "the other session ended")
        else:
            assert (await api.log_in(person.username)).status_code == 201
            assert (await other.get("/v1/users/me")).status_code == 200
        assert (await person.get("/v1/users/me")).status_code == 200
