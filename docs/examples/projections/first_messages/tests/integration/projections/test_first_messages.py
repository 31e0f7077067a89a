from contracts.events.friendship import FriendshipAccepted
from contracts.events.message import MessageSent
from contracts.values.ids import new_id
from projections.first_messages import FirstMessages
from tests.fix_read_models import OpenReadModel

ANNA, BORIS, CLARA = sorted(new_id() for _ in range(3))


async def test_the_time_from_the_friendship_to_the_first_message_is_kept(read_model: OpenReadModel) -> None:
    model = await read_model(FirstMessages)
    await model.given(friends(BORIS, ANNA), friends(CLARA, ANNA), at="2026-01-31T12:00:00Z")
    await model.given(sent(ANNA, BORIS), sent(BORIS, ANNA), at="2026-01-31T13:00:00Z")
    query = "SELECT one_id, other_id, seconds FROM {first_messages} ORDER BY seconds"
    assert await model.rows(query) == [(ANNA, BORIS, 3600), (ANNA, CLARA, None)]
    # Friends once more, and another message: the first ones count.
    await model.when(friends(ANNA, BORIS), sent(ANNA, BORIS), at="2026-03-01T12:00:00Z")
    assert (await model.rows(query))[0] == (ANNA, BORIS, 3600)


def friends(one: str, other: str) -> FriendshipAccepted:
    return FriendshipAccepted(requester_id=one, addressee_id=other)


def sent(sender: str, recipient: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender, recipient_id=recipient, sequence=1, text="Hi", client_message_id="1"
    )
