"""Who is told of what, and that what was read stays read."""

from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.events.message import MessageSent, NotificationRead
from contracts.identifiers import new_id
from projections.notifications import Notifications
from tests.fix_read_models import OpenReadModel

ANNA, BORIS = new_id(), new_id()
UNREAD = """
    SELECT user_id, kind, from_user_id FROM {notifications} AS n
    WHERE NOT EXISTS (SELECT FROM {notification_reads} AS r WHERE r.notification_id = n.notification_id) ORDER BY at
"""


async def test_the_other_is_told(read_model: OpenReadModel) -> None:
    model = await read_model(Notifications)
    await model.given(FriendshipCreated(requester_id=ANNA, addressee_id=BORIS), at="2026-01-31T12:00:00Z")
    await model.when(FriendshipAccepted(requester_id=ANNA, addressee_id=BORIS))
    message = MessageSent(
        message_id=new_id(), sender_id=BORIS, recipient_id=ANNA, sequence=1, text="Hi", client_message_id="1"
    )
    await model.when(message, FriendshipRemoved(remover_id=ANNA, other_id=BORIS))
    assert await model.rows(UNREAD) == [
        (BORIS, "friend_request", ANNA),
        (ANNA, "friend_accepted", BORIS),
        (ANNA, "message", BORIS),
    ]
    ((of_message,),) = await model.rows("SELECT notification_id FROM {notifications} WHERE kind = 'message'")
    await model.when(NotificationRead(notification_ids=(str(of_message),)), of=ANNA)
    assert [kind for _, kind, _ in await model.rows(UNREAD)] == ["friend_request", "friend_accepted"]
