"""What clients get of the read model `streaks`."""

from contracts.events.message import MessageSent
from contracts.values.ids import new_id, pair_id
from projections.streaks import Streaks
from tests.integration.reads.conftest import ShowReadModel

PATH = "/v1/streaks"
ANNA, BORIS, CLARA = [new_id() for _ in range(3)]


async def test_everybody_sees_their_own_streaks_and_who_holds_the_longest(shown: ShowReadModel) -> None:
    model = await shown(Streaks)
    # A day counts when the next one comes, or when both have written on it.
    for day, pairs in ((1, ((ANNA, model.user_id), (BORIS, model.user_id))), (2, ((ANNA, model.user_id),))):
        for one, other in pairs:
            await model.happened(sent(one, other), sent(other, one), at=f"2026-01-0{day}T12:00:00Z")
    with_anna, with_boris = pair_id(ANNA, model.user_id), pair_id(BORIS, model.user_id)
    longest = {"conversation_id": with_anna, "user_id": ANNA, "longest": 2, "holds_record": True}
    shorter = {"conversation_id": with_boris, "user_id": BORIS, "longest": 1, "holds_record": False}
    assert await model.get(f"{PATH}/{with_anna}") == longest
    assert await model.pages(PATH, limit=1) == [[longest], [shorter]]
    # Others have more.
    for day in (1, 2, 3):
        await model.happened(sent(BORIS, CLARA), sent(CLARA, BORIS), at=f"2026-01-0{day}T12:00:00Z")
    assert await model.get(f"{PATH}/{with_anna}") == longest | {"holds_record": False}
    assert await model.refused(f"{PATH}/{pair_id(BORIS, CLARA)}") == (404, "not_found")
    assert await model.refused(f"{PATH}/anna") == (422, "invalid")
    assert await model.refused(PATH, signed_in=False) == (401, "unauthenticated")


def sent(sender: str, recipient: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender, recipient_id=recipient, sequence=1, text="Hi", client_message_id="1"
    )
