"""Read-your-own-writes: positions in requests, in responses, and remembered per user."""

from contracts import subjects
from contracts.events.profile import ProfileUpdated
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import (
    AddFriendResponse,
    FriendState,
    GetFriendsResponse,
    RemoveFriendResponse,
)
from contracts.rpc.vestnik.messaging.v1 import MarkSeenResponse, SendMessageResponse
from contracts.subjects import PUBLIC_FILTERS
from contracts.values.ids import new_id
from tests.integration.gateway.conftest import Harness

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"


async def happened(harness: Harness) -> int:
    return await harness.append(subjects.profile(PEER), PEER, ProfileUpdated(display_name="Bo"))


async def test_a_write_is_seen_by_the_same_user_s_later_calls_without_a_header(harness: Harness) -> None:
    harness.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, position=Position.at("CONTACT", 5).encode()),
        "get_friends": GetFriendsResponse(position=Position({"CONTACT": 6, "AUTH": 2}).encode()),
    }
    write = await harness.client.put(f"/v1/friends/{PEER}", headers=harness.signed_in)
    assert harness.sealed.open(write.headers["vestnik-position"]) == Position.at("CONTACT", 5)

    listed = await harness.client.get("/v1/friends", headers=harness.signed_in)
    assert harness.script.asked[-1][2].position == Position.at("CONTACT", 5)
    position = harness.sealed.open(listed.headers["vestnik-position"])
    assert (position.sequence("CONTACT"), position.sequence("AUTH")) == (6, 2)
    # Of streams that the list knows nothing of, where they stood: to follow from there without a gap.
    assert set(position.sequences) == set(PUBLIC_FILTERS)

    other = {"authorization": f"Bearer {harness.token(user_id=new_id())}"}
    await harness.client.get("/v1/friends", headers=other)
    assert harness.script.asked[-1][2].position == Position()


async def test_a_write_is_seen_for_a_moment_by_the_other_whom_it_concerns(harness: Harness) -> None:
    harness.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, position=Position.at("CONTACT", 5).encode()),
        "remove_friend": RemoveFriendResponse(position=Position.at("CONTACT", 6).encode()),
        "send_message": SendMessageResponse(message=b"{}", created=True, position=Position.at("MESSAGING", 7).encode()),
        "mark_seen": MarkSeenResponse(position=Position.at("MESSAGING", 8).encode()),
        "get_friends": GetFriendsResponse(),
    }
    conversation = f"/v1/conversations/{PEER}"
    peer = {"authorization": f"Bearer {harness.token(user_id=PEER)}"}
    for method, path, body, seen in (
        ("PUT", f"/v1/friends/{PEER}", None, {"CONTACT": 5}),
        ("DELETE", f"/v1/friends/{PEER}", None, {"CONTACT": 6}),
        ("POST", f"{conversation}/messages", {"text": "Hi", "client_message_id": "1"}, {"CONTACT": 6, "MESSAGING": 7}),
        ("PUT", f"{conversation}/seen", {"sequence": 1}, {"CONTACT": 6, "MESSAGING": 8}),
    ):
        done = await harness.client.request(method, path, json=body, headers=harness.signed_in)
        assert done.is_success, done.text
        await harness.client.get("/v1/friends", headers=peer)
        assert harness.script.asked[-1][2].position == Position(seen)


async def test_a_position_sent_along_goes_with_commands_too_and_comes_back_merged(harness: Harness) -> None:
    harness.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, position=Position.at("CONTACT", 5).encode())
    }
    sent = Position({"PROFILE": await happened(harness), "AUTH": 0})

    answer = await harness.client.put(
        f"/v1/friends/{PEER}", headers={**harness.signed_in, "vestnik-position": harness.sealed.seal(sent)}
    )

    assert harness.script.asked[-1][2].position == sent
    assert harness.sealed.open(answer.headers["vestnik-position"]) == Position({**sent.sequences, "CONTACT": 5})
    # What a client claims to have seen is not remembered, only what was written.
    await harness.client.put(f"/v1/friends/{PEER}", headers=harness.signed_in)
    assert harness.script.asked[-1][2].position == Position.at("CONTACT", 5)


async def test_a_position_that_the_streams_end_before_goes_to_the_read_model_which_may_have_it(
    harness: Harness,
) -> None:
    """The end of a stream may be the word of a leader that was deposed: it refuses no position of this system."""
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    for ahead in ({"PROFILE": 10**12}, {"AUTH": 1}, {NOTIFIED_MESSAGING: 1}):
        header = {"vestnik-position": harness.sealed.seal(Position(ahead))}
        answer = await harness.client.get("/v1/friends", headers={**harness.signed_in, **header})
        assert answer.status_code == 200
        assert harness.script.asked[-1][2].position == Position(ahead)


async def test_a_trace_is_passed_on_and_nonsense_is_not(harness: Harness) -> None:
    harness.script.answers = {"get_friends": GetFriendsResponse()}
    no_trace = "00-" + "0" * 32 + "-00f067aa0ba902b7-01"
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for traceparent, passed in (
        (good, good),
        ("00-zz", None),
        (no_trace, None),
    ):
        await harness.client.get("/v1/friends", headers={**harness.signed_in, "traceparent": traceparent})
        assert harness.script.asked[-1][2].traceparent == passed
