"""Reading one's own writes: positions in, out, and remembered for each user."""

from contracts.identifiers import new_id
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import AddFriendResponse, FriendState, GetFriendsResponse
from tests.integration.gateway.conftest import Stage

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_a_write_is_seen_by_the_same_user_s_later_calls_without_a_header(stage: Stage) -> None:
    stage.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, position=Position.at("CONTACT", 5).encode()),
        "get_friends": GetFriendsResponse(position=Position({"CONTACT": 6, "AUTH": 2}).encode()),
    }
    write = await stage.client.put(f"/v1/friends/{PEER}", headers=stage.signed_in)
    assert Position.decode(write.headers["vestnik-position"]) == Position.at("CONTACT", 5)

    listed = await stage.client.get("/v1/friends", headers=stage.signed_in)
    assert stage.script.asked[-1][2].position == Position.at("CONTACT", 5)
    assert Position.decode(listed.headers["vestnik-position"]) == Position({"CONTACT": 6, "AUTH": 2})

    other = {"authorization": f"Bearer {stage.token(user_id=new_id())}"}
    await stage.client.get("/v1/friends", headers=other)
    assert stage.script.asked[-1][2].position == Position()


async def test_a_position_sent_along_goes_with_commands_too_and_comes_back_merged(stage: Stage) -> None:
    stage.script.answers = {
        "add_friend": AddFriendResponse(state=FriendState.OUTGOING, position=Position.at("CONTACT", 5).encode())
    }
    sent = Position({"PROFILE": 9, "CONTACT": 4})

    answer = await stage.client.put(
        f"/v1/friends/{PEER}", headers={**stage.signed_in, "vestnik-position": sent.encode()}
    )

    assert stage.script.asked[-1][2].position == sent
    assert Position.decode(answer.headers["vestnik-position"]) == Position({"PROFILE": 9, "CONTACT": 5})
    # What a client claims to have seen is not remembered, only what was written.
    await stage.client.put(f"/v1/friends/{PEER}", headers=stage.signed_in)
    assert stage.script.asked[-1][2].position == Position.at("CONTACT", 5)


async def test_a_trace_is_passed_on_and_nonsense_is_not(stage: Stage) -> None:
    stage.script.answers = {"get_friends": GetFriendsResponse()}
    no_trace = "00-" + "0" * 32 + "-00f067aa0ba902b7-01"
    good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for given, passed in (
        (good, good),
        ("00-zz", None),
        (no_trace, None),
    ):
        await stage.client.get("/v1/friends", headers={**stage.signed_in, "traceparent": given})
        assert stage.script.asked[-1][2].traceparent == passed
