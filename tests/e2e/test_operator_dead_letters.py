"""Operators retry and discard dead letters of read models and of reactions."""

import asyncio
import os
import signal

from tests.e2e.operators import asked, operator
from tests.e2e.people import Api, Json, assert_problem, eventually
from tests.e2e.poison import parked, poisoned
from tests.e2e.test_operation import lines, said


async def test_a_dead_letter_is_seen_tried_again_and_discarded(own_api: Api) -> None:
    api = own_api
    person = await operator(api)
    anna, boris = await api.friends()
    conversation_id = await poisoned(api, anna, boris)

    async def failed() -> Json | None:
        dead_letters = (await asked(person, "dead-letters"))["items"]
        return next(
            (
                one
                for one in dead_letters
                if one["aggregate_id"] == conversation_id and one["projection"] == "conversations"
            ),
            None,
        )

    dead_letter = await eventually(failed, "a dead letter")
    assert dead_letter is not None
    assert dead_letter["state"] == "failed"
    trace = await asked(person, f"event?stream={dead_letter['stream']}&sequence={dead_letter['sequence']}")
    assert {model["projection"]: model["state"] for model in trace["read_models"]}["conversations"] == "failed"
    assert dead_letter["id"] in [one["id"] for model in trace["read_models"] for one in model["letters"]]
    shown = await asked(person, f"dead-letter?id={dead_letter['id']}")
    assert shown["event"]["data"] == {"text": "•••"}
    tried = await person.ask("POST", "/v1/ops/dead-letters/retry", json={"id": dead_letter["id"]})
    assert (tried.status_code, tried.json()["outcome"]) == (200, "failed")
    without = await person.ask("POST", "/v1/ops/dead-letters/discard", json={"id": dead_letter["id"], "reason": " "})
    assert_problem(without, 422, "invalid")
    given_up = {"id": dead_letter["id"], "reason": "Written by a script."}
    done = await person.ask("POST", "/v1/ops/dead-letters/discard", json=given_up)
    assert (done.status_code, done.json()["left"]) == (200, 0), done.text
    kept = (await asked(person, "dead-letters?discarded=true"))["items"]
    (discard,) = [one["discard"] for one in kept if one["id"] == dead_letter["id"]]
    assert (discard["by"], discard["reason"]) == (person.username, "Written by a script.")
    assert_problem(
        await person.ask("POST", "/v1/ops/dead-letters/retry", json={"id": dead_letter["id"]}), 422, "invalid"
    )
    gone = await person.get("/v1/ops/dead-letter?id=friends.v1.b1.CONTACT.999999")
    assert_problem(gone, 404, "not_found")


async def test_a_parked_event_of_a_reaction_is_listed_tried_again_and_discarded(own_api: Api) -> None:
    api = own_api
    person = await operator(api)
    await api.person()
    registrations = await lines(api, "events", "--stream", "AUTH", "--type", "user.created")
    done, given_up = [event["sequence"] for event in registrations[-2:]]
    done_id, given_up_id = [await parked(api, sequence) for sequence in (done, given_up)]
    listed = {
        dead_letter["id"]: dead_letter for dead_letter in await lines(api, "dead-letters", "list", "profile-creation")
    }
    assert set(listed) == {done_id, given_up_id}
    assert {(dead_letter["kind"], dead_letter["state"], dead_letter["error"]) for dead_letter in listed.values()} == {
        ("reaction", "failed", "a test")
    }
    shown = {dead_letter["id"]: dead_letter for dead_letter in (await asked(person, "dead-letters"))["items"]}
    assert {(shown[dead_letter_id]["kind"], shown[dead_letter_id]["projection"]) for dead_letter_id in listed} == {
        ("reaction", "profile-creation")
    }
    (retried,) = (await said(api, "dead-letters", "retry", "--id", done_id))["retried"]
    assert (retried["outcome"], retried["applied"], retried["left"]) == ("applied", 1, 0)
    again = await asyncio.to_thread(api.system.vestnik, "dead-letters", "retry", "--id", done_id)
    assert (again.returncode, "applied by a retry" in again.stderr) == (1, True)
    discarding = {"id": given_up_id, "reason": "A test."}
    settled = await person.ask("POST", "/v1/ops/dead-letters/discard", json=discarding)
    assert (settled.status_code, settled.json()["left"]) == (200, 0), settled.text
    assert_problem(await person.ask("POST", "/v1/ops/dead-letters/discard", json=discarding), 422, "invalid")
    gone = await person.get("/v1/ops/dead-letter?id=profile-creation.AUTH.999999")
    assert_problem(gone, 404, "not_found")
    (kept,) = await lines(api, "dead-letters", "list", "profile-creation", "--state", "discarded")
    assert (kept["id"], kept["discard"]["by"], kept["discard"]["reason"]) == (given_up_id, person.username, "A test.")
    assert await lines(api, "dead-letters", "list", "profile-creation") == []
    # It depends on no database.
    for server in api.system.serving("postgres"):
        os.kill(server.pid, signal.SIGSTOP)
    try:
        assert await lines(api, "dead-letters", "list", "profile-creation", "--state", "discarded") == [kept]
    finally:
        for server in api.system.serving("postgres"):
            os.kill(server.pid, signal.SIGCONT)
