"""Live events over server-sent events: what comes to whom, from where on, and how it ends."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from contracts.positions import Position
from tests.e2e.people import Api, Person, eventually
from tests.fix_system import one_replica
from tests.sse_client import Event, Refused, Stream, listening

# One that the system itself might have written before positions were encrypted.
PLAIN = Position.at("MESSAGING", 1).encode()


def delivered(stream: Stream) -> list[tuple[str, object]]:
    """Reduces each event to its type and significant fields."""
    return [(event.type, _telling(event)) for event in stream.events]


def _telling(event: Event) -> object:
    data = event.data
    return data.get("text") or data.get("state") or data.get("reason") or data.get("bio") or data.get("sequence")


def last(stream: Stream) -> str:
    """The type of the event that came last."""
    return stream.events[-1].type if stream.events else ""


async def test_a_message_comes_to_both_and_to_every_device_of_theirs(api: Api) -> None:
    anna, boris = await api.friends()
    phone = await api.again(boris)
    async with (
        listening(api.system.url, anna.access_token, since=anna.position) as annas,
        listening(api.system.url, boris.access_token, since=boris.position) as boriss,
        listening(api.system.url, phone.access_token, since=boris.position) as phones,
    ):
        [sent] = await anna.sends(boris, "Hello")
        await boris.sees(anna, 1)
        for stream, other in ((annas, boris), (boriss, anna), (phones, anna)):
            await stream.until(enough(2))
            message, seen = stream.events
            assert (message.type, seen.type) == ("message.sent", "message.seen")
            assert message.data == {**sent, "user_id": other.user_id}
            assert set(seen.data) == {"conversation_id", "user_id", "sequence", "seen_at"}
            assert (seen.data["user_id"], seen.data["sequence"]) == (boris.user_id, 1)
        assert annas.headers["content-type"].startswith("text/event-stream")
        assert annas.headers["cache-control"] == "no-store"
        assert annas.headers["x-accel-buffering"] == "no"
        assert annas.headers["x-request-id"]


async def test_a_deleted_text_does_not_come_again_to_who_was_away(api: Api) -> None:
    anna, boris = await api.friends()
    before = (await boris.get("/v1/conversations")).headers["Vestnik-Position"]
    kept, gone = await anna.sends(boris, "kept", "gone")
    for text in ("a", "b"):
        await anna.edit(boris, kept["message_id"], text)
    await anna.edit(boris, gone["message_id"], "secret")
    await anna.delete(boris, gone["message_id"])
    async with listening(api.system.url, boris.access_token, since=before) as stream:
        await stream.until(lambda stream: last(stream) == "message.deleted")
        shown = {event.data["message_id"]: event.data for event in stream.events if event.type.startswith("message.")}
        assert (shown[kept["message_id"]]["text"], shown[gone["message_id"]]["deleted"]) == ("b", True)
        texts = [event.data["text"] for event in stream.events if event.data.get("message_id") == gone["message_id"]]
        assert set(texts) == {""}
        ids = [event.id for event in stream.events]
        assert len(ids) == len(set(ids))


async def test_without_a_position_it_begins_now(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "before")
    async with listening(api.system.url, anna.access_token, since=anna.position) as stream:
        await anna.sends(boris, "after")
        await stream.until(enough(1))
        assert delivered(stream) == [("message.sent", "after")]


async def test_both_friends_receive_the_friendship_as_each_sees_it(api: Api) -> None:
    anna, boris = await api.people(2)
    async with (
        listening(api.system.url, anna.access_token, since=anna.position) as annas,
        listening(api.system.url, boris.access_token, since=boris.position) as boriss,
    ):
        await api.befriend(anna, boris)
        assert (await boris.remove(anna)).status_code == 204
        for stream, other, first in ((annas, boris, "outgoing"), (boriss, anna, "incoming")):
            await stream.until(enough(3))
            assert delivered(stream) == [
                ("friendship.created", first),
                ("friendship.accepted", "accepted"),
                ("friendship.removed", "removed"),
            ]
            assert {event.data["user_id"] for event in stream.events} == {other.user_id}
            assert all(set(event.data) == {"user_id", "state", "at"} for event in stream.events)


async def test_a_profile_change_is_sent_to_friends_only(api: Api) -> None:
    anna, boris = await api.friends()
    stranger = await api.person()
    async with (
        listening(api.system.url, boris.access_token, since=boris.position) as boriss,
        listening(api.system.url, stranger.access_token) as strangers,
    ):
        for bio in ("one", "two", "three"):
            assert (await anna.ask("PATCH", "/v1/profiles/me", json={"bio": bio})).status_code == 200
            # Settings are shown to nobody else.
            assert (await anna.ask("PATCH", "/v1/profiles/me", json={"language": "ru"})).status_code == 200
            assert (await anna.ask("PATCH", "/v1/profiles/me", json={"language": None})).status_code == 200
        await boriss.until(enough(3))
        assert delivered(boriss) == [("profile.updated", bio) for bio in ("one", "two", "three")]
        shown = (await boris.get(f"/v1/profiles/{anna.user_id}", headers=written(anna))).json()
        assert boriss.events[-1].data == shown
        # A friendship made while both are connected counts at once, and one that ended does not.
        await api.befriend(stranger, anna)
        assert (await boris.remove(anna)).status_code == 204
        await boriss.until(lambda stream: last(stream) == "friendship.removed")
        assert (await anna.ask("PATCH", "/v1/profiles/me", json={"bio": "four"})).status_code == 200
        await strangers.until(lambda stream: last(stream) == "profile.updated")
        assert delivered(strangers)[-1] == ("profile.updated", "four")
        assert {event.data["user_id"] for event in strangers.events} == {anna.user_id}
        await anna.add(boris)
        await boriss.until(lambda stream: last(stream) == "friendship.created")
        assert [event.type for event in boriss.events].count("profile.updated") == 3


def enough(number: int) -> Callable[[Stream], bool]:
    return lambda stream: len(stream.events) >= number


def written(person: Person) -> dict[str, str]:
    return {"Vestnik-Position": person.position}


async def test_a_third_person_sees_nothing(api: Api) -> None:
    anna, boris = await api.friends()
    stranger, friend = await api.friends()
    # Behind the new friendship: another gateway may not have heard of it yet.
    async with listening(api.system.url, stranger.access_token, since=stranger.position) as stream:
        await anna.sends(boris, "secret")
        await boris.sees(anna, 1)
        await boris.ask("PATCH", "/v1/profiles/me", json={"bio": "x"})
        await anna.remove(boris)
        phone = await api.again(anna)
        await anna.ask("DELETE", f"/v1/sessions/{phone.session_id}")
        # What comes last shows that all before was over.
        await friend.sends(stranger, "the end")
        await stream.until(enough(1))
        assert delivered(stream) == [("message.sent", "the end")]


async def test_nothing_is_missed_and_nothing_comes_twice_over_reconnects(api: Api) -> None:
    anna, boris = await api.friends()
    async with listening(api.system.url, boris.access_token, since=boris.position) as stream:
        position, got = stream.id, list[str]()
    for number in range(12):
        await anna.sends(boris, f"{number} away")
        async with listening(api.system.url, boris.access_token, last_event_id=position) as stream:
            await stream.until(enough(1))
            await anna.sends(boris, f"{number} here")
            await stream.until(enough(2))
            got += [event.data["text"] for event in stream.events]
            position = stream.id
    assert got == [text for number in range(12) for text in (f"{number} away", f"{number} here")]


async def test_any_position_of_an_event_is_a_place_to_go_on_from(api: Api) -> None:
    anna, boris = await api.friends()
    async with listening(api.system.url, boris.access_token, since=boris.position) as stream:
        start = stream.id
        await asyncio.gather(anna.sends(boris, *"abcde"), boris.sends(anna, *"fghij"))
        await stream.until(enough(10))
        events = stream.events
    for number, position in enumerate([start, *(event.id for event in events[:-1])]):
        async with listening(api.system.url, boris.access_token, since=position) as again:
            await again.until(enough(10 - number))
            assert [event.data for event in again.events] == [event.data for event in events[number:]]


async def test_the_position_of_a_list_is_followed_without_a_gap(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "in the list")
    for path in ("/v1/friends", "/v1/conversations", f"/v1/conversations/{anna.user_id}/messages", "/v1/sessions"):
        listed = await boris.get(path, headers=written(anna))
        await anna.sends(boris, f"after {path}")
        async with listening(api.system.url, boris.access_token, since=listed.headers["Vestnik-Position"]) as stream:
            await stream.until(enough(1))
            assert [text for _, text in delivered(stream)][-1] == f"after {path}"
            # The other lists have no messages, so their positions may be behind these.
            if path.startswith("/v1/conversations"):
                assert ("message.sent", "in the list") not in delivered(stream)


async def test_a_long_absence_is_caught_up_completely_with_friendships(api: Api) -> None:
    anna, boris = await api.friends()
    carl, dora = await api.people(2)
    await api.befriend(boris, carl)
    # Behind the new friendship: another gateway may not have heard of it yet.
    async with listening(api.system.url, boris.access_token, since=boris.position) as stream:
        position = stream.id
    texts = [f"number {number}" for number in range(1_100)]
    for begin in range(0, len(texts), 50):
        await asyncio.gather(*(anna.sends(boris, text) for text in texts[begin : begin + 50]))
    await carl.sends(boris, "not to be seen")
    await boris.sees(anna, 5)
    await boris.sees(anna, 800)
    assert (await carl.remove(boris)).status_code == 204
    await api.befriend(dora, boris)
    assert (await dora.remove(boris)).status_code == 204
    await api.befriend(dora, boris)
    await dora.ask("PATCH", "/v1/profiles/me", json={"bio": "new friend"})
    await carl.ask("PATCH", "/v1/profiles/me", json={"bio": "no friend"})
    await dora.sends(boris, "the last")
    async with listening(api.system.url, boris.access_token, since=position) as stream:
        await stream.until(lambda received: ("message.sent", "the last") in delivered(received))
        kinds = [event.type for event in stream.events]
        sent = [event.data for event in stream.events if event.type == "message.sent"]
        assert sorted(data["text"] for data in sent) == sorted([*texts, "the last"])
        assert [data["sequence"] for data in sent if data["user_id"] == anna.user_id] == list(range(1, 1_101))
        assert [
            (event.type, event.data["user_id"]) for event in stream.events if event.type.startswith("friendship")
        ] == [
            ("friendship.removed", carl.user_id),
            ("friendship.created", dora.user_id),
            ("friendship.accepted", dora.user_id),
            ("friendship.removed", dora.user_id),
            ("friendship.created", dora.user_id),
            ("friendship.accepted", dora.user_id),
        ]
        assert [event.data["bio"] for event in stream.events if event.type == "profile.updated"] == ["new friend"]
        assert [event.data["sequence"] for event in stream.events if event.type == "message.seen"][-1] == 800
        assert kinds.count("message.seen") <= 2


async def test_a_stream_ends_with_its_session_and_with_no_other(api: Api) -> None:
    anna = await api.person()
    phone = await api.again(anna)
    async with (
        listening(api.system.url, anna.access_token) as annas,
        listening(api.system.url, phone.access_token) as phones,
    ):
        assert (await anna.ask("DELETE", f"/v1/sessions/{phone.session_id}")).status_code == 204
        await phones.until_end()
        await annas.until(enough(1))
        for stream in (phones, annas):
            assert delivered(stream) == [("session.revoked", stream.events[0].data["reason"])]
            assert stream.events[0].data["session_id"] == phone.session_id
        assert phones.finished
        # The other goes on.
        other = await api.again(anna)
        await anna.ask("DELETE", f"/v1/sessions/{other.session_id}")
        await annas.until(enough(2))
        with pytest.raises(Refused) as refused:
            await asyncio.wait_for(listening(api.system.url, phone.access_token, since=phones.id).__aenter__(), 60)
        assert (refused.value.status, refused.value.problem["code"]) == (401, "unauthenticated")


@one_replica
async def test_a_position_that_is_none_is_refused(api: Api) -> None:
    anna = await api.person()
    for wrong in ("nonsense", "e30x", PLAIN, "%00", "x" * 300):
        for since, last_event_id in ((wrong, ""), ("", wrong)):
            with pytest.raises(Refused) as refused:
                async with listening(api.system.url, anna.access_token, since=since, last_event_id=last_event_id):
                    pass
            assert (refused.value.status, refused.value.problem["code"]) == (422, "invalid")
            [error] = refused.value.problem["errors"]
            assert error["path"] == ("/query/since" if since else "/header/Last-Event-ID")


@one_replica
async def test_who_has_no_token_gets_no_events(api: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        assert (await api.http.get("/v1/events", headers=headers)).status_code == 401
    anna = await api.person()
    in_the_address = await api.http.get("/v1/events", params={"access_token": anna.access_token})
    assert in_the_address.status_code == 401
    head = await anna.ask("HEAD", "/v1/events")
    assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")


async def test_the_open_streams_are_in_the_metrics(api: Api) -> None:
    anna = await api.person()
    async with listening(api.system.url, anna.access_token):

        async def counted() -> bool:
            async with httpx.AsyncClient(base_url=api.system.url, timeout=60) as http:
                shown = (await http.get("/metrics")).text
            return any(
                line.startswith('vestnik_live_clients{kind="sse"}') and float(line.split()[-1]) >= 1
                for line in shown.splitlines()
            )

        await eventually(counted, "the stream in the metrics")
