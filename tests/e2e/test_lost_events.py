"""A stream that has lost the end that people have seen is not written over; an operator decides."""

from contracts.positions import Position
from contracts.subjects import MESSAGING
from tests.damage import blocks, cut_the_end
from tests.e2e.people import Api
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

    accepted = system.vestnik("rebuild", "--all", "--accept-loss", "MESSAGING:3", "--json")
    assert accepted.returncode == 0, accepted.stderr
    wait_until(lambda: "stops: lost events were given up" in system.log_tail(), "messaging started again")
    wait_until(system.is_ready, "the system ready")
    await anna.sends(boris, "the next one")
    assert [message["text"] for message in await boris.messages(anna)] == ["the next one", "two", "one"]
    assert system.vestnik("verify").returncode == 0


async def test_a_stream_that_ends_before_what_was_read_is_refused_too(own_api: Api) -> None:
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
    anna.written = boris.written = Position()
    refused = await anna.write(boris, "in its place")
    assert (refused.status_code, refused.json()["code"]) == (503, "history_lost")
    assert [message["text"] for message in await boris.messages(anna)] == ["lost", "two", "one"]
