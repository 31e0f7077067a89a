"""What clients get of the read model `first_messages`."""

from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.values.ids import new_id, pair_id
from projections.first_messages import FirstMessages
from tests.integration.reads.conftest import ShowReadModel

PATH = "/v1/first-messages"
ANNA, BORIS, CLARA = [new_id() for _ in range(3)]


async def test_everybody_sees_how_long_it_took_until_they_wrote(shown: ShowReadModel) -> None:
    model = await shown(FirstMessages)
    await model.happened(*(friends(model.user_id, other) for other in (ANNA, BORIS, CLARA)), at="2026-01-31T12:00:00Z")
    with_anna, with_boris, with_clara = [pair_id(other, model.user_id) for other in (ANNA, BORIS, CLARA)]
    await model.happened(sent(ANNA, model.user_id), at="2026-01-31T13:00:00Z")
    await model.happened(sent(model.user_id, BORIS), at="2026-01-31T12:01:00Z")
    after_an_hour = {"conversation_id": with_anna, "user_id": ANNA, "seconds": 3600}
    after_a_minute = {"conversation_id": with_boris, "user_id": BORIS, "seconds": 60}
    assert await model.pages(PATH, limit=1) == [[after_a_minute], [after_an_hour]]
    assert await model.get(f"{PATH}/{with_anna}") == after_an_hour
    not_yet = {"conversation_id": with_clara, "user_id": CLARA, "seconds": None}
    assert await model.get(f"{PATH}/{with_clara}") == not_yet
    assert await model.refused(f"{PATH}/{pair_id(ANNA, BORIS)}") == (404, "not_found")
    assert await model.refused(PATH, signed_in=False) == (401, "unauthenticated")


def friends(one: str, other: str) -> FriendshipAccepted:
    return FriendshipAccepted(requester_id=one, addressee_id=other)


def sent(sender: str, recipient: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender, recipient_id=recipient, sequence=1, text="Hi", client_message_id="1"
    )
