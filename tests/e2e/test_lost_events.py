"""A stream that has lost its end is not overwritten until an operator has decided."""

import json
from pathlib import Path

from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from tests.damage import blocks, cut_the_end
from tests.e2e.people import Api, eventually
from tests.fix_system import System, wait_until


async def test_a_lost_message_is_not_replaced_by_the_next_one(fresh_api: Api) -> None:
    api, system = fresh_api, fresh_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two", "lost")
    # What nobody has been shown is not known to be missing.
    assert len(await anna.messages(boris)) == 3
    system.interrupt()
    store = system.data_dir / "nats"
    cut_the_end(store, MESSAGING, 100)

    system.start()
    shown = await boris.messages(anna)
    refused = await anna.write(boris, "in its place")
    assert (refused.status_code, refused.json()["code"]) == (503, "history_lost")
    assert await boris.messages(anna) == shown
    assert [message["text"] for message in shown] == ["lost", "two", "one"]
    assert "MESSAGING lacks 1 of its 3 events" in system.vestnik("status").stdout
    # Others are not concerned.
    assert (await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "still here"})).status_code == 200
    assert verification(system) == {MESSAGING: ["MESSAGING:3: is missing"]}

    accepted = system.vestnik(
        "rebuild", "--all", "--accept-loss", "MESSAGING:3", "--reason", "a test", "--json", within=300
    )
    assert accepted.returncode == 0, accepted.stderr
    wait_until(
        lambda: "stops: lost events were restored, or their loss was accepted" in system.log_tail(),
        "messaging started again",
    )
    wait_until(system.is_ready, "the system ready")
    await anna.sends(boris, "the next one")
    assert [message["text"] for message in await boris.messages(anna)] == ["the next one", "two", "one"]
    assert system.vestnik("verify", within=300).returncode == 0
    assert verification(system) == {}
    audit = system.vestnik("audit", "operators", "--action", "streams.verify", "--json")
    assert [json.loads(line)["outcome"] for line in audit.stdout.splitlines()] == ["failed", "done"]
    system.interrupt()
    stopped = system.vestnik("verify", "--streams", within=300)
    assert (stopped.returncode, "not compared with read models" in stopped.stderr) == (0, True), stopped.stderr


def verification(system: System) -> dict[str, list[str]]:
    """The faults of each stream that `vestnik verify --streams` finds."""
    done = system.vestnik("verify", "--streams", "--json", within=300)
    report = json.loads(done.stdout)
    faults = {
        verdict["stream"]: [f"{fault['stream']}:{fault['sequence']}: {fault['what']}" for fault in verdict["named"]]
        for verdict in report["streams"]
        if not verdict["sound"]
    }
    assert report["compared_with_read_models"]
    assert (report["sound"], done.returncode) == ((False, 1) if faults else (True, 0))
    return faults


async def test_the_end_that_a_stream_has_lost_is_given_up_and_its_rows_are_kept_in_a_file(
    fresh_api: Api, tmp_path: Path
) -> None:
    api, system = fresh_api, fresh_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two", "lost")
    # What nobody has been shown is not known to be missing.
    assert len(await anna.messages(boris)) == 3
    system.interrupt()
    store = system.data_dir / "nats"
    cut_the_end(store, MESSAGING, 100)
    # Without its index, as after a crash, the server does not know that there was more.
    (blocks(store, MESSAGING)[0].parent / "index.db").unlink()
    system.start()
    # Whether the system has been where they were is another question.
    shown = boris.written.merge(anna.written)
    anna.written = boris.written = Position()
    refused = await anna.write(boris, "in its place")
    assert (refused.status_code, refused.json()["code"]) == (503, "history_lost")
    assert [message["text"] for message in await boris.messages(anna)] == ["lost", "two", "one"]
    what = "is missing, with all up to 3: read models have applied them"
    assert verification(system) == {MESSAGING: [f"MESSAGING:3: {what}"]}

    rows = tmp_path / "rows.jsonl"
    given_up = system.vestnik(
        "streams", "accept-loss", MESSAGING, "--yes", "--reason", "a test", "--rows", str(rows), within=300
    )
    assert given_up.returncode == 0, given_up.stderr
    kept = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    (message,) = [row for row in kept if (row["projection"], row["table"]) == ("conversations", "messages")]
    assert (message["kind"], message["columns"]["text"]) == ("extra", ["lost", None])
    assert rows.stat().st_mode & 0o777 == 0o600
    audit = system.vestnik("audit", "operators", "--action", "stream.accept_loss", "--json")
    (act,) = map(json.loads, audit.stdout.splitlines())
    assert (act["target"], act["reason"], act["outcome"]) == (MESSAGING, "a test", "done")
    assert act["details"]["lost"].startswith("MESSAGING:3-")
    again = system.vestnik("streams", "accept-loss", MESSAGING, "--yes", "--reason", "a test", within=300)
    assert (again.returncode, "lacks no event" in again.stderr) == (1, True)

    wait_until(
        lambda: "stops: lost events were restored, or their loss was accepted" in system.log_tail(),
        "messaging starts again",
    )
    wait_until(system.is_ready, "the system ready")
    # Who was shown what is lost has to load everything again.
    boris.written = shown

    async def refused_as_old() -> bool:
        answer = await boris.get("/v1/conversations")
        return answer.status_code == 422 and answer.json()["code"] == "history_changed"

    await eventually(refused_as_old, "the gateway knows what was given up")
    boris.written = Position()
    await anna.sends(boris, "the next one")
    assert [message["text"] for message in await boris.messages(anna)] == ["the next one", "two", "one"]
    # No sequence that somebody may have seen was given to another event.
    assert anna.written.sequence(MESSAGING) > 1_000
    assert system.vestnik("verify", within=300).returncode == 0
    assert verification(system) == {}


async def test_two_streams_that_have_lost_their_ends_are_given_up_one_after_the_other(
    fresh_api: Api, tmp_path: Path
) -> None:
    api, system = fresh_api, fresh_api.system
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "lost")
    assert len(await boris.messages(anna)) == 2
    carla, dmitri = await api.friends()
    # A read model of both streams has applied the friendship that is about to be lost.
    assert await carla.messages(dmitri) == []
    system.interrupt()
    for stream in (MESSAGING, CONTACT):
        cut_the_end(system.data_dir / "nats", stream, 100)
        (blocks(system.data_dir / "nats", stream)[0].parent / "index.db").unlink()
    system.start()
    for one in (anna, boris):
        one.written = Position()

    rows, others = tmp_path / "rows.jsonl", tmp_path / "others.jsonl"
    first = system.vestnik(
        "streams", "accept-loss", MESSAGING, "--yes", "--reason", "a test", "--rows", str(rows), within=300
    )
    assert first.returncode == 0, first.stderr
    assert "conversations is not rebuilt yet, because events of CONTACT are missing, too" in first.stderr
    assert "analytics rebuilt" in first.stderr
    same_file = system.vestnik(
        "streams", "accept-loss", CONTACT, "--yes", "--reason", "a test", "--rows", str(rows), within=300
    )
    assert (same_file.returncode, f"{rows} exists" in same_file.stderr) == (1, True)
    assert "Traceback" not in same_file.stderr
    second = system.vestnik(
        "streams", "accept-loss", CONTACT, "--yes", "--reason", "a test", "--rows", str(others), within=300
    )
    assert second.returncode == 0, second.stderr
    assert "conversations rebuilt" in second.stderr
    assert "not rebuilt" not in second.stderr
    kept = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert ["lost", None] in [row["columns"].get("text") for row in kept]
    assert "friends" in {json.loads(line)["projection"] for line in others.read_text(encoding="utf-8").splitlines()}

    def both_appended_to() -> bool:
        return system.log_tail().count("stops: lost events were restored, or their loss was accepted") == 2

    wait_until(both_appended_to, "messaging and contact start again")
    wait_until(system.is_ready, "the system ready")
    await anna.sends(boris, "the next one")
    assert [message["text"] for message in await boris.messages(anna)] == ["the next one", "one"]
    assert system.vestnik("verify", within=300).returncode == 0
