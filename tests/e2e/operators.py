"""Operators for tests: an account of the system's operator, and the answers that it gets."""

import asyncio
import json
from pathlib import Path

from tests.e2e.people import Api, Json, Person, assert_problem

# One of each system, by its data directory: making an operator takes a process of the command line.
_OPERATORS: dict[Path, Person] = {}


async def operator(api: Api) -> Person:
    """Returns a new session of the system's operator."""
    folder = api.system.data_dir
    if folder not in _OPERATORS:
        _OPERATORS[folder] = await new_operator(api)
    return await api.again(_OPERATORS[folder])


async def new_operator(api: Api) -> Person:
    person = await api.person()
    done = await asyncio.to_thread(api.system.vestnik, "operators", "add", person.username, "--by", "alice", "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["user_id"], json.loads(done.stdout)["by"]) == (person.user_id, "alice")
    # At that very moment, whichever gateway answers.
    assert (await person.get("/v1/ops/status")).status_code == 200
    return person


async def fail_to_log_in(api: Api, person: Person) -> None:
    """Fails so often that it is an anomaly, even if a clock hour ends half-way."""
    for _ in range(40):
        response = await api.log_in(person.username, "not the password")
        assert_problem(response, 401, "invalid_credentials")


async def asked(person: Person, path: str) -> Json:
    response = await person.get(f"/v1/ops/{path}")
    assert response.status_code == 200, response.text
    content: Json = response.json()
    return content
