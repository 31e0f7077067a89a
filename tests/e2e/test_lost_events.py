"""A stream that has lost the end that people have seen is not written over; an operator decides."""

import json
from pathlib import Path

from contracts.positions import Position
from contracts.subjects import MESSAGING
from tests.damage import blocks, cut_the_end
from tests.e2e.people import Api, eventually
from tests.fix_system import wait_until


async def test_a_lost_message_is_not_replaced_by_the_next_one(own_api: Api) -> None:
    api, system = own_api, own_api.system
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

    accepted = system.vestnik("rebuild", "--all", "--accept-loss", "MESSAGING:3", "--json", within=300)
    assert accepted.returncode == 0, accepted.stderr
    wait_until(lambda: "stops: lost events are back, or were given up" in system.log_tail(), "messaging started again")
    wait_until(system.is_ready, "the system ready")
    await anna.sends(boris, "the next one")
    assert [message["text"] for message in await boris.messages(anna)] == ["the next one", "two", "one"]
    assert system.vestnik("verify", within=300).returncode == 0


async def test_the_end_that_a_stream_has_lost_is_given_up_and_its_rows_are_kept_in_a_file(
    own_api: Api, tmp_path: Path
) -> None:
    api, system = own_api, own_api.system
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

    rows = tmp_path / "rows.jsonl"
    given_up = system.vestnik("streams", "accept-loss", MESSAGING, "--yes", "--rows", str(rows), within=300)
    assert given_up.returncode == 0, given_up.stderr
    kept = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    (message,) = [row for row in kept if (row["projection"], row["table"]) == ("conversations", "messages")]
    assert (message["kind"], message["columns"]["text"]) == ("extra", ["lost", None])
    assert rows.stat().st_mode & 0o777 == 0o600
    again = system.vestnik("streams", "accept-loss", MESSAGING, "--yes", within=300)
    assert (again.returncode, "lacks no event" in again.stderr) == (1, True)

    wait_until(lambda: "stops: lost events are back, or were given up" in system.log_tail(), "messaging starts again")
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
    assert anna.written.of(MESSAGING) > 1_000
    assert system.vestnik("verify", within=300).returncode == 0
