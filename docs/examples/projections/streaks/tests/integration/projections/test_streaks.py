from contracts.events.message import MessageSent
from contracts.values.ids import new_id
from projections.streaks import Streaks
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()


async def test_a_day_counts_once_both_have_written(read_model: OpenReadModel) -> None:
    model = await read_model(Streaks)
    for day in (1, 2, 3, 5):
        await model.given(sent(ANNA, BORIS), sent(ANNA, BORIS), at=f"2026-01-0{day}T12:00:00Z")
        await model.when(*[sent(BORIS, ANNA)] * (day != 3), at=f"2026-01-0{day}T23:59:59Z")
    assert await model.rows("SELECT one_id, days, longest FROM {streaks}") == [(ANNA, 1, 2)]


def sent(sender: str, recipient: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(), sender_id=sender, recipient_id=recipient, sequence=1, text="Hi", client_message_id="1"
    )
