"""The command line against a running system."""

import asyncio
import json
import subprocess

import psycopg
import pytest
from psycopg import sql

from contracts import catalogue
from contracts.services import REGISTRY
from contracts.subjects import STREAMS
from contracts.values.ids import pair_id
from tests.e2e.people import Api, Json, assert_problem, eventually, items
from tests.fix_system import System, one_replica

PROJECTIONS = {
    "users",
    "sessions",
    "session_audit",
    "profiles",
    "friends",
    "conversations",
    "message_search",
    "notifications",
    "analytics",
}


async def run(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Rebuilds and verifications yield the processor to everything else, which on a busy machine takes minutes.
    return await asyncio.to_thread(api.system.vestnik, *arguments, within=300)


async def said(api: Api, *arguments: str) -> Json:
    done = await run(api, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    body: Json = json.loads(done.stdout)
    return body


async def events(api: Api, *arguments: str) -> list[Json]:
    done = await run(api, "events", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_the_status_names_every_part(api: Api) -> None:
    await api.friends()
    status = await said(api, "status")
    assert set(status) >= {"streams", "projections", "services"}
    assert sorted(stream["name"] for stream in status["streams"]) == sorted(STREAMS)
    assert all(set(row) == {"name", "events", "bytes", "last_sequence"} for row in status["streams"])
    assert all(
        row["events"] > 0 and row["bytes"] > 0
        for row in status["streams"]
        # The notary signs its first heads some seconds after a start.
        if row["name"] not in ("MESSAGING", "OPERATOR", "NOTARY")
    )
    assert {row["name"] for row in status["projections"]} >= PROJECTIONS
    columns = {"name", "version", "position", "lag", "events_per_second", "state"}
    assert all(set(row) >= columns for row in status["projections"])
    assert {row["name"] for row in status["services"]} == set(REGISTRY)
    plain = await run(api, "status")
    assert plain.returncode == 0
    assert all(name in plain.stdout for name in STREAMS)


@one_replica
async def test_the_events_tell_what_happened_to_one_aggregate(api: Api) -> None:
    anna, boris = await api.friends()
    sent = await anna.sends(boris, "one", "two")
    shown = await events(api, "--id", sent[0]["conversation_id"], "--type", "message.sent")
    assert [event["data"]["text"] for event in shown] == ["one", "two"]
    assert [event["version"] for event in shown] == [1, 2]
    assert all(event["aggregate_id"] == sent[0]["conversation_id"] for event in shown)
    fields = {"id", "type", "schema", "aggregate_id", "version", "at", "actor", "correlation_id", "causation_id"}
    assert all(fields <= set(event) for event in shown)


@one_replica
async def test_private_events_are_shown_without_their_data(api: Api) -> None:
    person = await api.person()
    shown = await events(api, "--stream", "AUTH")
    mine = [event for event in shown if event["aggregate_id"] == person.user_id]
    assert {"user.created", "user.email_verified", "credential.set"} <= {event["type"] for event in mine}
    for event in shown:
        private = catalogue.EVENTS[event["type"]].PRIVATE if event["type"] in catalogue.EVENTS else True
        assert (event["data"] is None) == private, event["type"]


async def aggregate(api: Api, *arguments: str) -> list[Json]:
    done = await run(api, "aggregate", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@one_replica
async def test_an_aggregate_is_shown_with_its_state_after_each_event(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "\x1b[2Jtwo")
    await boris.sees(anna, 2)
    friendship = await aggregate(api, "friendship", f"@{anna.username}", boris.username.upper())
    assert [entry["state"]["status"] for entry in friendship] == ["requested", "accepted"]
    assert await aggregate(api, "friendship", friendship[0]["event"]["aggregate_id"]) == friendship
    assert await aggregate(api, "friendship", boris.user_id, anna.user_id, "--version", "1") == friendship[:1]
    assert await aggregate(api, "friendship", boris.user_id, anna.user_id, "--at", "0s") == friendship
    (credential,) = await aggregate(api, "credential", anna.username)
    assert credential["event"]["data"] is None
    assert credential["state"]["hashed"]["password_hash"] == "•••"
    (mark,) = await aggregate(api, "read", boris.username, anna.username)
    assert mark["state"] == {"sequence": 2}
    assert await aggregate(api, "read", mark["event"]["aggregate_id"]) == [mark]
    shown = await run(api, "aggregate", "conversation", anna.username, boris.username, "--last", "1")
    assert '"last_sequence":2' in shown.stdout
    assert "\\u001b[2Jtwo" in shown.stdout
    assert "\x1b" not in shown.stdout


@one_replica
@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("friendship", "nobody_of_this_name", "another"), 1, "there is no user nobody_of_this_name"),
        (("session", "01890a5d-ac96-774b-bcce-b302099a8057"), 1, "no such aggregate: session 01890a5d"),
        (("session", "*"), 2, "'*' names no session"),
        (("read", "a.b"), 2, "names no read: give CONVERSATION_ID.USER_ID or two users"),
        (("conversation", "a", "b", "c"), 2, "names no conversation"),
        (("user", "../../\x1b[2J"), 1, "there is no user ../../\\u001b[2J"),
        (("user", "\udcff"), 1, "there is no user \\udcff"),
        (("user", "anna", "--version", "0"), 2, "0 is not in the range"),
        (("user", "anna", "--version", "1", "--at", "1h"), 2, "cannot be combined"),
        (("email", "anna"), 2, "'user', 'credential', 'login_failures', 'data_export', 'data_keys', 'session'"),
    ],
)
async def test_what_names_no_aggregate_is_refused_in_a_line(
    api: Api, arguments: tuple[str, ...], code: int, why: str
) -> None:
    done = await run(api, "aggregate", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


@one_replica
async def test_a_verification_finds_every_read_model_equal(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    done = await run(api, "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    json.loads(done.stdout)


async def test_reads_go_on_while_everything_is_rebuilt(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two")
    rebuilding = asyncio.create_task(run(api, "rebuild", "--all", "--json"))
    while not rebuilding.done():
        assert [message["text"] for message in await anna.messages(boris)] == ["two", "one"]
        # Without a pause the reads would keep the rebuild from the processor, which it yields to them.
        await asyncio.wait({rebuilding}, timeout=0.01)
    done = rebuilding.result()
    assert done.returncode == 0, done.stderr
    assert [message["text"] for message in await anna.messages(boris)] == ["two", "one"]
    await anna.sends(boris, "three")
    assert (await anna.messages(boris, limit=1))[0]["text"] == "three"


@one_replica
async def test_a_rebuild_of_what_is_no_projection_is_refused(api: Api) -> None:
    done = await run(api, "rebuild", "nothing")
    assert done.returncode != 0
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


@one_replica
async def test_the_rows_of_one_key_are_rebuilt_in_place_or_the_reason_is_said(api: Api) -> None:
    one, other = await api.friends()
    await one.sends(other, "hello")
    await one.sends(other, "again")
    conversation = pair_id(one.user_id, other.user_id)
    for projection, key in (
        ("profiles", one.user_id),
        ("users", one.user_id),
        ("conversations", conversation),
        ("friends", conversation),
        ("analytics", conversation),
    ):
        (rebuilt,) = (await said(api, "rebuild", projection, "--only", key))["rebuilt"]
        assert rebuilt["rows"] > 0, projection
        assert rebuilt["events"] > 0, projection
    for arguments, code, text in (
        (("friends", "--only", "nobody"), 1, "friends has no rows of nobody"),
        (("friends", "--only", "*"), 1, "a key is an id"),
        (("--all", "--only", conversation), 2, "one projection"),
        (("friends", "--only", conversation, "--back"), 2, "--only"),
        (("friends", "--rate", "0"), 2, "--rate"),
    ):
        refused = await run(api, "rebuild", *arguments)
        assert (refused.returncode, text in refused.stderr) == (code, True), refused.stderr
    for projection in ("profiles", "users", "conversations", "friends"):
        assert (await said(api, "verify", projection))["projections"][0]["equal"]


async def test_a_projection_is_paused_and_resumed_while_its_service_runs(api: Api) -> None:
    one, other = await api.friends()
    why = ("--reason", "a test")
    paused = await said(api, "projections", "pause", "friends", *why)
    try:
        (row,) = [row for row in (await said(api, "status"))["projections"] if row["name"] == "friends"]
        assert (row["state"], row["position"], row["pause"]["reason"]) == ("paused", paused["position"], "a test")
        twice = await run(api, "projections", "pause", "friends", *why)
        assert (twice.returncode, "friends is paused already, by " in twice.stderr) == (1, True)
        # The table names it too.
        assert "paused at" in (await run(api, "status")).stdout
        # What is there can be read; what is not applied yet is waited for in vain.
        assert (await other.get("/v1/friends")).status_code == 200
        assert (await other.ask("DELETE", f"/v1/friends/{one.user_id}")).status_code == 204
        assert_problem(await other.get("/v1/friends"), 503, "read_model_behind")
        services = (await said(api, "status"))["services"]
        assert {service["state"] for service in services} == {"serving"}
    finally:
        resumed = await said(api, "projections", "resume", "friends", *why)
    assert resumed["pause"]["reason"] == "a test"

    async def read() -> bool:
        return items(await other.get("/v1/friends")) == []

    await eventually(read, "the friendship ended")
    for arguments, code, text in (
        (("resume", "friends", *why), 1, "of friends is not paused"),
        (("skip", "friends", *why), 1, "friends does not stop at an event: it has not failed"),
        (("reset", "friends", *why), 2, "without a gap"),
        (("reset", "nobody", "--yes", *why), 1, "there is no projection 'nobody'"),
        (("pause", "nobody", *why), 1, "there is no projection 'nobody'"),
        (("pause", "profile-creation", *why), 1, "profile-creation is a reaction"),
        (("pause", "friends"), 2, "--reason"),
    ):
        refused = await run(api, "projections", *arguments)
        assert refused.returncode == code
        # A usage error is wrapped.
        assert text in " ".join(refused.stderr.replace("\u2502", " ").split())
    reset = await said(api, "projections", "reset", "friends", "--yes", *why)
    assert reset["build"] > reset["replaced"]
    await eventually(read, "the friends again")


async def test_the_analytics_count_what_happens_hour_by_hour(api: Api) -> None:
    anna, boris = await api.friends()
    before = await hours(api)
    await anna.sends(boris, "Are you there?")
    await boris.sends(anna, "I am.")

    async def counted() -> bool:
        now = await hours(api)
        return all(totals(now)[name] >= totals(before)[name] + more for name, more in (("messages", 2), ("seen", 1)))

    await eventually(counted, "both messages, and the first one seen")
    rows = await hours(api)
    assert [hour["hour"] for hour in rows] == sorted({hour["hour"] for hour in rows})
    assert rows[-1]["active_people"] >= 2
    assert rows[-1]["logins"] + rows[0]["logins"] >= 2
    assert rows[-1]["seen_p50_seconds"] >= 0
    assert await hours(api, "--until", "2020-01-01") == []
    plain = (await run(api, "analytics")).stdout
    assert f"{rows[-1]['hour'][:10]} {rows[-1]['hour'][11:16]}" in plain
    assert (await run(api, "analytics", "--since", "yesterday")).returncode != 0


async def hours(api: Api, *arguments: str) -> list[Json]:
    done = await run(api, "analytics", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def totals(hours: list[Json]) -> dict[str, int]:
    return {name: sum(hour[name] for hour in hours) for name in ("messages", "seen")}


@one_replica
async def test_the_rows_of_a_read_model_are_shown(api: Api) -> None:
    anna, _ = await api.friends()
    done = await run(api, "rows", "friends", "--table", "contacts", "--limit", "100000", "--json")
    assert done.returncode == 0, done.stderr
    assert anna.user_id in {json.loads(line)["user_id"] for line in done.stdout.splitlines()}
    assert "contacts" in (await run(api, "rows", "friends", "--limit", "1")).stdout
    for arguments, says in ((("freinds",), "there are: analytics"), (("friends", "--table", "x"), "it has: contacts")):
        refused = await run(api, "rows", *arguments)
        assert refused.returncode != 0
        assert says in refused.stderr


@one_replica
async def test_the_settings_are_listed(api: Api) -> None:
    done = await run(api, "settings")
    assert done.returncode == 0
    for name in ("VESTNIK_DATA_DIR", "VESTNIK_PORT", "VESTNIK_BCRYPT_COST", "VESTNIK_RATE_LIMITS"):
        assert name in done.stdout
    listed = json.loads((await run(api, "settings", "--json")).stdout)
    assert listed


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["status", "--watch"], ["dead-letters", "list"], ["events"], ["verify"], ["rebuild", "--all"]],
)
def test_a_command_without_a_running_system_says_so(
    tmp_path_factory: pytest.TempPathFactory, arguments: list[str]
) -> None:
    done = System(tmp_path_factory.mktemp("nothing") / "data").vestnik(*arguments)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


async def test_a_verification_names_the_row_that_was_changed_by_hand(own_api: Api) -> None:
    api = own_api
    anna, boris = await api.friends()
    await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "as it was"})

    async def written() -> bool:
        return bool((await boris.get(f"/v1/profiles/{anna.user_id}")).json()["bio"] == "as it was")

    await eventually(written, "the profile")
    with psycopg.connect(api.system.superusers_database_url(), autocommit=True) as connection:
        table = live_table(connection, "profiles")
        changed = connection.execute(
            sql.SQL("UPDATE {} SET bio = 'changed by hand' WHERE user_id = %s").format(sql.Identifier(*table)),
            [anna.user_id],
        )
        assert changed.rowcount == 1
    done = await run(api, "verify", "--json")
    assert done.returncode != 0
    assert anna.user_id in done.stdout
    assert "profiles" in done.stdout
    others = await run(api, "verify", "friends", "conversations", "--json")
    assert others.returncode == 0, others.stdout + others.stderr
    assert (await run(api, "rebuild", "profiles")).returncode == 0
    mended = await run(api, "verify", "--json")
    assert mended.returncode == 0, mended.stdout + mended.stderr


def live_table(connection: psycopg.Connection, name: str) -> tuple[str, str]:
    """The table behind the read model's view: `profiles_v1` selects from, say, `profiles_v1_b2`."""
    rows = connection.execute(
        "SELECT table_schema, table_name FROM information_schema.view_table_usage "
        "WHERE view_name ~ %s AND view_schema NOT IN ('pg_catalog', 'information_schema')",
        [f"^{name}_v[0-9]+$"],
    ).fetchall()
    assert len(rows) == 1, rows
    return rows[0][0], rows[0][1]
