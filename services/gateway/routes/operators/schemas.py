"""Response schemas of the operators' page; the operator's service returns them as JSON documents."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.gateway.routes.timestamps import Time


class StreamState(msgspec.Struct, frozen=True):
    name: str
    events: int
    bytes: int
    last_sequence: int


class LettersWaiting(msgspec.Struct, frozen=True):
    failed: int
    parked: int


class Mishap(msgspec.Struct, frozen=True):
    at: Time
    error: str


class BuildProgress(msgspec.Struct, frozen=True):
    events: int
    total: int
    fraction: float
    seconds_left: float | None


class ProjectionState(msgspec.Struct, frozen=True):
    name: str
    version: int
    build: int
    state: Annotated[
        str,
        Meta(
            description="`live`, `building`, `returning`, `interrupted`, `missing`, `failed` or `unknown`;"
            " more may come."
        ),
    ]
    position: Annotated[dict[str, int], Meta(description="Its place in each of its streams.")]
    lag: Annotated[int | None, Meta(description="Events that it has not applied yet; null where that is not known.")]
    lag_seconds: float | None
    events_per_second: float
    checkpoint_at: Time | None
    dead_letters: LettersWaiting
    last_error: Annotated[Mishap | None, Meta(description="Of the last 24 hours.")]
    progress: Annotated[BuildProgress | None, Meta(description="Of a build that is not live.")]
    bytes: int
    kept_bytes: int


class ServiceState(msgspec.Struct, frozen=True):
    name: str
    state: Annotated[str, Meta(description="`serving`, `partly`, `not_ready` or `down`; more may come.")]


class SilentServer(msgspec.Struct, frozen=True):
    part: str
    reason: str


class SystemStatus(msgspec.Struct, frozen=True):
    at: Time
    streams: list[StreamState]
    projections: list[ProjectionState]
    services: list[ServiceState]
    unreachable: Annotated[list[SilentServer], Meta(description="Servers that do not answer.")]


class StreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    sequence: int
    subject: str
    id: str
    type: str
    schema: int
    aggregate_id: str
    version: int
    at: Time
    actor: str | None
    correlation_id: Annotated[str | None, Meta(description="Our own id of the request that began it.")]
    causation_id: str | None
    traceparent: str | None
    request_id: Annotated[
        str | UnsetType, Meta(description="The client's `X-Request-Id`; left out where it sent none.")
    ] = UNSET
    data: Annotated[
        dict[str, Any] | None,
        Meta(description="null for a private event; what is personal stands as `•••`."),
    ]


class StreamEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[StreamEvent]
    older: Annotated[str | None, Meta(description="For `before`: where older ones are; null where there are none.")]
    newer: Annotated[str, Meta(description="For `after`: where to follow from.")]
    skipped: Annotated[int, Meta(description="How many newer ones were passed over, since too many had come.")]
    unreadable: Annotated[int, Meta(description="Messages that are no events of ours.")]


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True):
    at: Time
    event: str
    user_id: str
    username: str
    session_id: str
    device: str | None
    address: str | None
    reason: Annotated[str | None, Meta(description="Why the session ended; null unless it is an end.")]


class SessionEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SessionEvent]
    older: Annotated[str | None, Meta(description="For `before`: where older ones are; null where there are none.")]
    unreadable: Annotated[bool, Meta(description="Whether events could not be applied, so that some may be missing.")]


class Discarding(msgspec.Struct, frozen=True):
    reason: str
    by: str
    at: Time


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    projection: str
    version: int
    build: int
    stream: str
    sequence: int
    subject: str
    aggregate_id: str
    type: str
    state: Annotated[str, Meta(description="`failed`, `parked` (it waits behind a failed one) or `discarded`.")]
    error: str
    attempts: int | None
    tried_at: Time | None
    at: Time | None
    waiting: Annotated[int | None, Meta(description="How many wait behind it.")]
    behind: Annotated[str | None, Meta(description="The id of the one that it waits behind.")]
    discard: Discarding | None


class DeadLetterAndEvent(DeadLetter, frozen=True, kw_only=True):
    event: StreamEvent | None
    event_error: Annotated[str | None, Meta(description="Why the event cannot be shown.")]


class DeadLetters(msgspec.Struct, frozen=True):
    items: list[DeadLetter]
    more: bool


class SettledLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of a retry or a discard for the dead letters of an aggregate."""

    id: str
    outcome: Annotated[str, Meta(description="`applied`, `failed` or `refused`.")]
    applied: int
    left: int
    failed_id: str | None
    reason: str | None


class PublicProfile(msgspec.Struct, frozen=True, kw_only=True):
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    updated_at: Time


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    active: int
    total: int
    last_login_at: Time | None
    last_refreshed_at: Time | None


class FriendCounts(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    incoming: int
    outgoing: int


class ConversationCounts(msgspec.Struct, frozen=True, kw_only=True):
    open: Annotated[int, Meta(description="Between people who are friends now.")]
    total: int
    messages: Annotated[int, Meta(description="In all of them, of both people.")]
    unread: int
    last_activity_at: Time | None


class PersonAggregate(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    kind: str
    aggregate_id: str
    with_user_id: Annotated[str | None, Meta(description="The other person, where it is of two.")]


class PersonSeen(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    created_at: Time
    email_verified: bool
    profile: Annotated[PublicProfile | None, Meta(description="null before the address is verified.")]
    sessions: SessionCounts | None
    friends: FriendCounts | None
    conversations: ConversationCounts | None
    dead_letters: Annotated[int | None, Meta(description="Of the person's own aggregates.")]
    aggregates: Annotated[list[PersonAggregate], Meta(description="The newest ten of each kind, for `events`.")]
    unknown: Annotated[list[str], Meta(description="Read models that could not be asked; what they know is null.")]


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int | None
    state: Annotated[
        str,
        Meta(
            description="`applied`, `ignored` (it takes nothing from this type), `waiting` (it has not read that far),"
            " `failed`, `parked`, `discarded` or `missing`."
        ),
    ]
    checkpoint: Annotated[int | None, Meta(description="How far it has read the event's stream.")]
    checkpoint_at: Time | None
    letters: Annotated[list[DeadLetter], Meta(description="Its dead letters of the event's aggregate.")]


class NotificationMade(msgspec.Struct, frozen=True, kw_only=True):
    notification_id: str
    at: Time


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sender_id: str
    recipient_id: str
    sequence: int
    stored: Annotated[bool, Meta(description="Whether it is among the conversation's messages.")]
    open: Annotated[bool | None, Meta(description="Whether the two are friends now; else neither sees it.")]
    notification: NotificationMade | None
    seen_at: Time | None


class EventTrace(msgspec.Struct, frozen=True, kw_only=True):
    event: StreamEvent
    stored_at: Time | None
    read_models: Annotated[list[ReadModelState], Meta(description="Those that read the event's stream.")]
    message: Annotated[MessageState | None, Meta(description="null where it is no message.")]


class AggregateVersion(msgspec.Struct, frozen=True, kw_only=True):
    event: StreamEvent
    state: Annotated[
        dict[str, Any] | None, Meta(description="After the event; null where an event up to it cannot be read.")
    ]
    error: Annotated[str | None, Meta(description="Why the event cannot be read.")]
    missing: Annotated[str | None, Meta(description="Versions before it that the stream has lost, as `4-6`.")]
    lost_before: Annotated[list[str], Meta(description="Accepted losses before it, as `MESSAGING:7-9`.")]
    lost_after: Annotated[list[str], Meta(description="The same after the last event.")]
    expired_at: Annotated[Time | None, Meta(description="Of the last version: when its state expired.")]


class AggregateVersions(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    aggregate_id: str
    stream: str
    last_version: Annotated[int, Meta(description="The newest there is.")]
    items: list[AggregateVersion]


class JobProgress(msgspec.Struct, frozen=True):
    events: int
    total: int
    events_per_second: float
    seconds_left: float | None
    waits_for: Annotated[str | None, Meta(description="Where that is not events.")]


class RowDiffers(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    kind: Annotated[str, Meta(description="`changed`, `missing` from the live table, or `extra` there.")]
    key: dict[str, str]
    columns: Annotated[list[str], Meta(description="Names of those that differ; values are not shown.")]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    equal: bool
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    lost: Annotated[list[str], Meta(description="Events that the streams have lost, as `MESSAGING:7-9`.")]
    dead_letters: int
    dead_letters_rebuilt: int
    discarded: int
    seconds: float
    differences: Annotated[list[RowDiffers], Meta(description="The first few.")]


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    build: int
    replaced: int | None
    events: int
    seconds: float
    events_per_second: float
    dead_letters: int


class MaintenanceJob(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: Annotated[str, Meta(description="`verify` or `rebuild`.")]
    projection: str
    by: Annotated[str, Meta(description="The operator's username.")]
    state: Annotated[str, Meta(description="`running`, `done`, `failed` or `cancelled`.")]
    started_at: Time
    ended_at: Time | None
    progress: JobProgress | None
    verified: Annotated[Verified | None, Meta(description="What a verification has found.")]
    rebuilt: Annotated[Rebuilt | None, Meta(description="What a rebuild has put in place.")]
    error: str | None


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    projections: Annotated[list[str], Meta(description="What can be verified and rebuilt.")]
    items: Annotated[list[MaintenanceJob], Meta(description="The newest first; only the first may be running.")]


class StreamRates(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    events: Annotated[list[int], Meta(description="Of each step, the oldest first.")]


class StreamHistory(msgspec.Struct, frozen=True, kw_only=True):
    step_seconds: int
    steps: Annotated[list[Time], Meta(description="When each step begins.")]
    streams: list[StreamRates]
