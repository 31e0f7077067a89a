"""Fan-out: which users receive what for an event of the streams. The pure part of live delivery."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import permutations

import msgspec
from msgspec import UNSET, UnsetType

from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.friendship import (
    FriendshipAccepted,
    FriendshipBlocked,
    FriendshipCreated,
    FriendshipEvent,
    FriendshipRemoved,
    FriendshipUnblocked,
)
from contracts.events.message import (
    ConversationUpdated,
    MessageChange,
    MessageDeleted,
    MessageEdited,
    MessageSeen,
    MessageSent,
    NotificationRead,
    ReactionChanged,
    RepliedTo,
)
from contracts.events.session import AccountAlerted, SessionRevoked
from contracts.messages import LiveMessage, LiveReaction, Quote
from contracts.notification_kinds import (
    BLOCK_CHANGED,
    FRIEND_ACCEPTED,
    FRIEND_EXPIRED,
    FRIEND_REMINDER,
    FRIEND_REQUEST,
    MESSAGE,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_CREATED,
    NOTIFICATION_READ,
    NOTIFIED_CONTACT,
    NOTIFIED_MESSAGING,
    NOTIFIED_SESSION,
    LiveBlock,
    LiveConversation,
    LiveFriendship,
    LiveNotification,
    LiveNotificationsRead,
    LiveSeen,
    LiveSessionEnd,
    muted_until,
)
from contracts.subjects import CONTACT, MESSAGING, PROFILE, SESSION
from contracts.values.ids import notification_id
from contracts.values.timestamps import rfc3339
from services.gateway.cache.quote_texts import Quoted, QuotedText, with_quoted_text

# The order of backfill: the session first, as it decides whether the client may still receive anything.
STREAMS = (SESSION, CONTACT, PROFILE, MESSAGING)
CHANNELS = (*STREAMS, *NOTIFICATION_CHANNELS)

_ENCODE = msgspec.json.Encoder().encode
_DECODE_MESSAGE = msgspec.json.Decoder(LiveMessage).decode


# Approximate size of a notification.
_NOTICE_BYTES = 256


class LazyNotification(Mapping[str, bytes]):
    """A notification to one user, encoded on first access: each message makes one, and few clients want them."""

    __slots__ = ("_at", "_data", "_event_id", "_from_user_id", "_kind", "_user_id")

    def __init__(self, event: Recorded[Event], user_id: str, kind: str, from_user_id: str) -> None:
        self._event_id = event.id
        self._at = event.at
        self._user_id = user_id
        self._kind = kind
        self._from_user_id = from_user_id
        self._data = b""

    @property
    def message_from(self) -> str:
        """The sender of the message that it notifies of; empty for other notifications."""
        return self._from_user_id if self._kind == MESSAGE else ""

    def __getitem__(self, user_id: str) -> bytes:
        if user_id != self._user_id:
            raise KeyError(user_id)
        if not self._data:
            created = notification_id(user_id, self._event_id)
            self._data = _ENCODE(LiveNotification(created, self._kind, self._from_user_id, rfc3339(self._at)))
        return self._data

    def __iter__(self) -> Iterator[str]:
        return iter((self._user_id,))

    def __len__(self) -> int:
        return 1


class OutboundEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as clients receive it."""

    # A stream, or the notifications derived from one.
    channel: str
    # In the stream.
    sequence: int
    type: str
    at: datetime
    # User id -> the JSON object that this user's clients receive.
    payload_by_user: Mapping[str, bytes]
    # The message whose text the payloads have, or of which they notify; empty for other events.
    message_id: str = ""
    # The message that it answers.
    quoted: Quoted | None = None
    # Whether the payloads have the text of that.
    is_quote_known: bool = False
    # The user whose friends all receive the data; empty if `payload_by_user` names the recipients.
    friends_of: str = ""

    def size(self) -> int:
        """Approximate size in bytes."""
        return (
            _NOTICE_BYTES
            if isinstance(self.payload_by_user, LazyNotification)
            else sum(map(len, self.payload_by_user.values()))
        )


def fan_out(event: Recorded[Event]) -> Iterator[OutboundEvent]:
    """The outbound events of an event; those of a profile's update come from `profile_updated`."""
    match event.data:
        case MessageSent():
            yield from _sent(event, event.data)
        case MessageEdited() as edited:
            text = edited.text
            yield _changed(event, edited, text=text, edited_at=rfc3339(event.at), reply_to=edited.reply_to)
        case MessageDeleted() as deleted:
            yield _changed(event, deleted, text="", deleted=True)
        case ReactionChanged() as changed:
            reactions = {one: _reaction(changed, other) for one, other in permutations(changed.members, 2)}
            yield _outbound(event, MESSAGING, reactions)
        case MessageSeen() as seen:
            shown = LiveSeen(seen.conversation_id, seen.reader_id, seen.sequence, rfc3339(event.at))
            yield _outbound(event, MESSAGING, dict.fromkeys((seen.reader_id, seen.peer_id), shown))
        case ConversationUpdated() as settings:
            yield _updated(event, settings)
        case NotificationRead() as read:
            up_to = UNSET if read.up_to is None else read.notification_ids[0]
            ids = (*read.notification_ids, *(message.notification_id for message in read.messages))
            people = tuple(message.from_user_id for message in read.messages) or UNSET
            done = LiveNotificationsRead(ids, up_to, people)
            yield _outbound(event, NOTIFIED_MESSAGING, {event.aggregate_id: done}, NOTIFICATION_READ)
        case FriendshipCreated() as request:
            if not request.is_reminder:
                yield _befriended(event, request, request.requester_id, "outgoing", request.addressee_id, "incoming")
            if request.addressee_id not in request.blocked_by:
                kind = FRIEND_REMINDER if request.is_reminder else FRIEND_REQUEST
                yield _notified(event, NOTIFIED_CONTACT, request.addressee_id, kind, request.requester_id)
        case FriendshipAccepted() as agreed:
            yield _befriended(event, agreed, agreed.requester_id, "accepted", agreed.addressee_id, "accepted")
            yield _notified(event, NOTIFIED_CONTACT, agreed.requester_id, FRIEND_ACCEPTED, agreed.addressee_id)
        case FriendshipRemoved() as ended:
            yield _removed(event, ended)
            if ended.expired:
                yield _notified(event, NOTIFIED_CONTACT, ended.remover_id, FRIEND_EXPIRED, ended.other_id)
        case FriendshipBlocked() | FriendshipUnblocked() as block:
            is_blocked = isinstance(block, FriendshipBlocked)
            data = LiveBlock(block.blocked_id, is_blocked, rfc3339(event.at))
            yield _outbound(event, CONTACT, {block.blocker_id: data}, BLOCK_CHANGED)
        case SessionRevoked() as revoked:
            yield _outbound(event, SESSION, {revoked.user_id: LiveSessionEnd(event.aggregate_id, revoked.reason)})
        case AccountAlerted() as alert:
            yield _notified(event, NOTIFIED_SESSION, alert.user_id, alert.kind, alert.user_id)
        case _:
            return


def profile_updated(event: Recorded[Event], shown: bytes) -> OutboundEvent:
    """The outbound event to the user's friends. `shown`: the complete profile in JSON."""
    return OutboundEvent(
        channel=PROFILE,
        sequence=event.sequence,
        type=event.type,
        at=event.at,
        payload_by_user={"": shown},
        friends_of=event.aggregate_id,
    )


def _sent(event: Recorded[Event], sent: MessageSent) -> Iterator[OutboundEvent]:
    sender_id, recipient_id = sent.sender_id, sent.recipient_id
    shown = LiveMessage(
        message_id=sent.message_id,
        conversation_id=event.aggregate_id,
        user_id=recipient_id,
        sequence=sent.sequence,
        sender_id=sender_id,
        text=sent.text,
        sent_at=rfc3339(event.at),
        reply_to=_quote(sent.reply_to),
    )
    to = {sender_id: _ENCODE(shown), recipient_id: _ENCODE(msgspec.structs.replace(shown, user_id=sender_id))}
    yield _of_message(event, sent.message_id, to, _quoted(event.aggregate_id, sent.reply_to))
    notification = _notified(event, NOTIFIED_MESSAGING, sent.recipient_id, MESSAGE, sent.sender_id)
    yield msgspec.structs.replace(notification, message_id=sent.message_id)


def _quote(answered: RepliedTo | None) -> Quote | UnsetType:
    if answered is None:
        return UNSET
    return Quote(message_id=answered.message_id, sequence=answered.sequence, sender_id=answered.sender_id)


def _quoted(conversation_id: str, answered: RepliedTo | None) -> Quoted | None:
    return None if answered is None else Quoted(answered.message_id, conversation_id, answered.sequence)


def _updated(event: Recorded[Event], settings: ConversationUpdated) -> OutboundEvent:
    shown = LiveConversation(
        user_id=next((member for member in settings.members if member != settings.user_id), ""),
        conversation_id=settings.conversation_id,
        muted_until=muted_until(settings.muted_until, event.at),
        pinned=settings.pinned,
        archived=settings.archived,
    )
    return _outbound(event, MESSAGING, {settings.user_id: shown})


def _reaction(changed: ReactionChanged, other_id: str) -> LiveReaction:
    return LiveReaction(
        user_id=other_id,
        message_id=changed.message_id,
        conversation_id=changed.conversation_id,
        sequence=changed.sequence,
        sender_id=changed.user_id,
        emoji=changed.emoji,
    )


def _changed(
    event: Recorded[Event],
    message: MessageChange,
    *,
    text: str,
    edited_at: str | UnsetType = UNSET,
    deleted: bool | UnsetType = UNSET,
    reply_to: RepliedTo | None = None,
) -> OutboundEvent:
    to = {
        user_id: LiveMessage(
            message_id=message.message_id,
            conversation_id=message.conversation_id,
            user_id=other_id,
            sequence=message.sequence,
            sender_id=message.sender_id,
            text=text,
            sent_at=rfc3339(message.sent_at),
            edited_at=edited_at,
            deleted=deleted,
            reply_to=_quote(reply_to),
        )
        for user_id, other_id in permutations(message.members, 2)
    }
    payloads = {user_id: _ENCODE(shown) for user_id, shown in to.items()}
    return _of_message(event, message.message_id, payloads, _quoted(message.conversation_id, reply_to))


def _of_message(
    event: Recorded[Event], message_id: str, to: Mapping[str, bytes], quoted: Quoted | None
) -> OutboundEvent:
    return OutboundEvent(
        channel=MESSAGING,
        sequence=event.sequence,
        type=event.type,
        at=event.at,
        payload_by_user=to,
        message_id=message_id,
        quoted=quoted,
    )


def text_of(event: OutboundEvent) -> QuotedText:
    """The text that a quote of the event's message shows."""
    message = _DECODE_MESSAGE(next(iter(event.payload_by_user.values())))
    return QuotedText(message.text, message.deleted is True)


def with_quote(event: OutboundEvent, text: QuotedText) -> OutboundEvent:
    """The event of a reply, with the text of the message that it answers."""
    payloads = {user_id: with_quoted_text(data, text) for user_id, data in event.payload_by_user.items()}
    return msgspec.structs.replace(event, payload_by_user=payloads, is_quote_known=True)


def with_change(event: OutboundEvent, change: OutboundEvent) -> OutboundEvent:
    """The event of a message that was edited or deleted since, as a backfill sends it."""
    now = _DECODE_MESSAGE(next(iter(change.payload_by_user.values())))
    changed = {
        user_id: msgspec.structs.replace(
            _DECODE_MESSAGE(data), text=now.text, edited_at=now.edited_at, deleted=now.deleted
        )
        for user_id, data in event.payload_by_user.items()
    }
    return msgspec.structs.replace(event, payload_by_user={user: _ENCODE(shown) for user, shown in changed.items()})


def _befriended(
    event: Recorded[Event], friendship: FriendshipEvent, one: str, ones: str, other: str, others: str
) -> OutboundEvent:
    """The new state of each; a user who blocks the other sees no change."""
    at = rfc3339(event.at)
    to = {one: LiveFriendship(other, ones, at), other: LiveFriendship(one, others, at)}
    return _outbound(event, CONTACT, {user_id: to[user_id] for user_id in to if user_id not in friendship.blocked_by})


def _removed(event: Recorded[Event], ended: FriendshipRemoved) -> OutboundEvent:
    if not ended.request_goes_on:
        return _befriended(event, ended, ended.remover_id, "removed", ended.other_id, "removed")
    shown = LiveFriendship(ended.other_id, "removed", rfc3339(event.at))
    return _outbound(event, CONTACT, {ended.remover_id: shown})


def _notified(event: Recorded[Event], channel: str, user_id: str, kind: str, from_user_id: str) -> OutboundEvent:
    return OutboundEvent(
        channel=channel,
        sequence=event.sequence,
        type=NOTIFICATION_CREATED,
        at=event.at,
        payload_by_user=LazyNotification(event, user_id, kind, from_user_id),
    )


def _outbound(event: Recorded[Event], channel: str, to: Mapping[str, msgspec.Struct], kind: str = "") -> OutboundEvent:
    return OutboundEvent(
        channel=channel,
        sequence=event.sequence,
        type=kind or event.type,
        at=event.at,
        payload_by_user={user_id: _ENCODE(data) for user_id, data in to.items()},
    )
