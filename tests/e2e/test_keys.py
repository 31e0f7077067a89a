"""Rotation of access token keys while users are logged in; no log or stream contains a key or token."""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator, Iterator

import jwt
import msgspec
import nats as nats_py
import pyotp
import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.subjects import STREAMS
from infra.runtime.run_file import find
from streams.reader import Reader
from tests.e2e.conftest import client
from tests.e2e.documented_commands import WITHIN, commands
from tests.e2e.people import PASSWORD, Api, Json, Person, assert_problem, eventually
from tests.fix_system import ROOT, System


@pytest.fixture(scope="module")
def rotating_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two replicas of each service with TLS between them, keys that sign after six seconds, and debug logs in JSON."""
    system = System(
        tmp_path_factory.mktemp("keys") / "data",
        replicas=2,
        settings={
            "VESTNIK_ACCESS_KEY_LEAD_SECONDS": "6",
            "VESTNIK_LOG_LEVEL": "debug",
            "VESTNIK_LOG_FORMAT": "json",
            "VESTNIK_RPC_TLS": "on",
            "VESTNIK_OPERATOR_TOTP": "on",
        },
    )
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest_asyncio.fixture
async def api(rotating_system: System) -> AsyncIterator[Api]:
    async with client(rotating_system) as http:
        yield Api(rotating_system, http)


def rotate(system: System, *options: str) -> list[Json]:
    done = system.vestnik("keys", "rotate", "--reason", "a test", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def refresh(api: Api, person: Person) -> None:
    answer = await api.http.post("/v1/sessions/refresh", json={"refresh_token": person.refresh_token})
    assert answer.status_code == 200, answer.text
    person.access_token, person.refresh_token = answer.json()["access_token"], answer.json()["refresh_token"]


async def published(api: Api) -> set[str]:
    answer = await api.http.get("/.well-known/jwks.json")
    return {str(key["kid"]) for key in answer.json()["keys"]}


async def test_a_rotation_logs_nobody_out(api: Api) -> None:
    early, late = await api.people(2)
    old = kid(early.access_token)
    keys = rotate(api.system)
    new = keys[-1]["key_id"]
    assert [key["state"] for key in keys] == ["signing", "published"]

    async def is_published() -> bool:
        return new in await published(api)

    async def is_signing() -> bool:
        await refresh(api, late)
        assert (await late.get("/v1/users/me")).status_code == 200
        return kid(late.access_token) == str(new)

    await eventually(is_published, "the new key published")
    await eventually(is_signing, "the new key signing")
    # What the old key signed is as good as before, at whichever gateway.
    for _ in range(10):
        assert (await early.get("/v1/users/me")).status_code == 200
    assert await published(api) == {old, new}
    listed = api.system.vestnik("keys", "list")
    assert listed.returncode == 0
    assert old in listed.stdout
    assert "verifying" in listed.stdout


async def test_a_key_that_is_not_trusted_any_more_costs_a_refresh_and_no_login(api: Api) -> None:
    person = await api.person()
    (key,) = rotate(api.system, "--at-once")

    async def is_refused() -> bool:
        answers = [await person.get("/v1/users/me") for _ in range(6)]
        return all(answer.status_code == 401 for answer in answers)

    await eventually(is_refused, "tokens of the removed key refused")
    assert_problem(await person.get("/v1/users/me"), 401, "unauthenticated")

    async def is_good_again() -> bool:
        await refresh(api, person)
        answers = [await person.get("/v1/users/me") for _ in range(6)]
        return kid(person.access_token) == key["key_id"] and all(answer.status_code == 200 for answer in answers)

    await eventually(is_good_again, "tokens of the new key good")
    assert await published(api) == {key["key_id"]}


@pytest.mark.parametrize("page", ["change-the-keys.md", "audit-logins.md"])
async def test_the_howto_works_as_it_is_shown(api: Api, page: str) -> None:
    if (await api.log_in("anna")).status_code != 201:
        await api.person(username="anna")
    session = (await api.log_in("anna")).json()["session_id"]
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", commands(ROOT / "docs" / "howto" / page)],
        cwd=ROOT,
        env=api.system.environment | {"SESSION": session},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert ("signing" if page == "change-the-keys.md" else session) in done.stdout


async def test_neither_a_log_nor_a_stream_holds_a_key_a_password_or_a_token(api: Api) -> None:
    person = await api.person(password="a very secret horse")
    await api.http.post("/v1/sessions", json={"login": person.email, "password": "a wrong secret horse"})
    await refresh(api, person)
    begun = (await person.ask("POST", "/v1/users/me/totp", json={"password": "a very secret horse"})).json()
    code = pyotp.TOTP(begun["secret"]).now()
    confirmed = await person.ask("POST", "/v1/users/me/totp/confirm", json={"code": code})
    recovery_codes = confirmed.json()["recovery_codes"]
    login = {"login": person.email, "password": "a very secret horse", "totp": recovery_codes[0]}
    assert (await api.http.post("/v1/sessions", json=login)).status_code == 201
    secrets = {
        begun["secret"],
        *recovery_codes,
        *(recovery_code.replace("-", "") for recovery_code in recovery_codes),
        confirmed.headers["Vestnik-Device-Token"],
        person.access_token,
        person.access_token.rpartition(".")[2],
        person.refresh_token.rpartition(".")[2],
        await api.mailed_token(person.email),
        PASSWORD,
        "secret horse",
    }
    for path in (api.system.data_dir / "secrets").iterdir():
        content = path.read_bytes()
        if b"PRIVATE" in content:
            secrets |= {line for line in content.decode().splitlines() if line and "-----" not in line}
        elif path.suffix == ".key":
            secrets |= {content.hex(), base64.b64encode(content).decode(), base64.urlsafe_b64encode(content).decode()}
        elif path.suffix == ".password":
            secrets.add(content.decode())
    log = api.system.log.read_text(errors="replace")
    assert [secret for secret in secrets if secret in log] == []
    connection = await nats_py.connect(find(api.system.data_dir).nats_url, inbox_prefix=b"_INBOX_operator")
    try:
        for stream in STREAMS:
            held = await everything(connection, stream)
            assert [secret for secret in secrets if secret.encode() in held] == [], stream
            assert (stream in ("CONTACT", "MESSAGING", "OPERATOR")) or held
    finally:
        await connection.close()


async def test_where_the_setting_says_so_operators_need_a_code(api: Api) -> None:
    person = await api.person()
    added = await asyncio.to_thread(api.system.vestnik, "operators", "add", person.username)
    assert "two-step verification" in added.stderr
    for path in ("status", "events", "maintenance"):
        assert_problem(await person.get(f"/v1/ops/{path}"), 403, "second_factor_required")
    begun = (await person.ask("POST", "/v1/users/me/totp", json={"password": PASSWORD})).json()
    code = pyotp.TOTP(begun["secret"]).now()
    confirmed = await person.ask("POST", "/v1/users/me/totp/confirm", json={"code": code})
    # The session began without a code.
    assert_problem(await person.get("/v1/ops/status"), 403, "second_factor_required")
    again = await api.again(person, totp=confirmed.json()["recovery_codes"][0])
    assert (await again.get("/v1/ops/status")).status_code == 200
    await refresh(api, again)
    assert (await again.get("/v1/ops/events")).status_code == 200
    assert_problem(await (await api.person()).get("/v1/ops/status"), 403, "not_an_operator")


async def test_every_line_of_the_log_is_an_object_and_names_the_clients_request(api: Api) -> None:
    person = await api.person()
    # A file that cannot be read is an error that the operator's service logs while it serves the call.
    operators = api.system.data_dir / "secrets" / "operators.json"
    before = operators.read_bytes() if operators.exists() else None
    operators.write_text("not JSON")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    try:
        sent = {"X-Request-Id": "of-a-client", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert_problem(await person.get("/v1/ops/status", headers=sent), 403, "not_an_operator")
    finally:
        if before is None:
            operators.unlink()
        else:
            operators.write_bytes(before)

    async def lines() -> list[Json]:
        whole, _, _ = api.system.log.read_text(errors="replace").rpartition("\n")
        records = [json.loads(line) for line in whole.splitlines()]
        return records if any(line.get("request_id") == "of-a-client" for line in records) else []

    log = await eventually(lines, "a line with the id of the request")
    (line,) = [line for line in log if line.get("request_id") == "of-a-client"]
    assert (line["service"], line["level"], line["trace_id"]) == ("operator", "ERROR", trace)
    assert line["correlation_id"] not in ("", "of-a-client")
    assert {"vestnik", "nats", "postgres", "gateway", "auth", "messaging"} <= {line["service"] for line in log}
    for line in log:
        assert line["time"].endswith("Z")
        assert line["message"]
    text = json.dumps(log)
    assert [personal for personal in (person.username, person.email, person.user_id) if personal in text] == []


async def everything(connection: NATS, stream: str) -> bytes:
    """The payloads of all messages of the stream, concatenated."""
    held = []
    async with Reader(connection, stream, name="scan") as reader:
        async for batch in reader.batches():
            held += [message.payload for message in batch.messages]
            if batch.pending == 0:
                return b"\n".join(held)
    raise AssertionError("a reader does not end by itself")


async def test_positions_go_on_across_another_key_and_are_refused_once_theirs_is_gone(api: Api) -> None:
    async def accepted() -> bool:
        return (await (await api.person()).get("/v1/friends")).status_code == 200

    await eventually(accepted, "tokens of the key that the test before has made")
    anna, boris = await api.friends()
    before = (await anna.write(boris, "one")).headers["Vestnik-Position"]
    assert api.system.vestnik("keys", "rotate-positions", "--reason", "a test").returncode == 0

    async def changed() -> str:
        written = (await anna.write(boris, "another")).headers["Vestnik-Position"]
        # It begins with what names the key.
        return written if written[:5] != before[:5] else ""

    after = await eventually(changed, "positions under the new key")
    # Both replicas of the gateway are asked, since connections go to either.
    for _ in range(10):
        for position in (before, after):
            answer = await boris.get("/v1/conversations", headers={"Vestnik-Position": position})
            assert answer.status_code == 200, answer.text
    assert api.system.vestnik("keys", "rotate-positions", "--at-once", "--reason", "a test").returncode == 0

    async def refused() -> bool:
        answer = await boris.get("/v1/conversations", headers={"Vestnik-Position": before})
        return answer.status_code == 422

    await eventually(refused, "a position whose key is gone refused")
