"""Response schemas of the operators' page; the operator's service returns them as JSON documents."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

# As the services record it: more exact than the milliseconds of the other routes.
Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with up to six decimals of a second.",
        examples=["2026-01-31T12:00:00.123456Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


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
            description="`live`, `building`, `returning`, `interrupted`, `missing`, `failed` or `unknown`; more "
            "may be added."
        ),
    ]
    position: Annotated[dict[str, int], Meta(description="Its checkpoint in each of its streams.")]
    lag: Annotated[int | None, Meta(description="Events that it has not applied yet; null if unknown.")]
    lag_seconds: float | None
    events_per_second: float
    checkpoint_at: Time | None
    dead_letters: LettersWaiting
    last_error: Annotated[Mishap | None, Meta(description="From the last 24 hours.")]
    progress: Annotated[BuildProgress | None, Meta(description="For a build that is not live.")]
    bytes: int
    kept_bytes: int


class ServiceState(msgspec.Struct, frozen=True):
    name: str
    state: Annotated[str, Meta(description="`serving`, `partly`, `not_ready` or `down`; more may be added.")]


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
    correlation_id: Annotated[str | None, Meta(description="The system's id of the request that caused it.")]
    causation_id: str | None
    traceparent: str | None
    request_id: Annotated[str | UnsetType, Meta(description="The client's `X-Request-Id`; absent if it sent none.")] = (
        UNSET
    )
    data: Annotated[
        dict[str, Any] | None,
        Meta(description="null for a private event; personal values are shown as `•••`."),
    ]


class StreamEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[StreamEvent]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    newer: Annotated[str, Meta(description="For `after`: the position to continue from.")]
    skipped: Annotated[int, Meta(description="Number of newer events that were skipped because there were too many.")]
    unreadable: Annotated[int, Meta(description="Number of messages that are not Vestnik events.")]


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True):
    at: Time
    event: str
    user_id: Annotated[str | None, Meta(description="null: a failed login that no account has.")]
    username: str | None
    session_id: Annotated[str | None, Meta(description="null: a failed login.")]
    device: str | None
    address: str | None
    reason: Annotated[
        str | None, Meta(description="Why the session ended, or why the login failed; null for other events.")
    ]
    count: Annotated[int | None, Meta(description="How many failed logins it stands for; null for other events.")]
    new_device: Annotated[
        bool | None,
        Meta(description="Whether the login came without the `device_token` of an earlier one; null: a failed login."),
    ]
    second_factor: Annotated[
        bool | None,
        Meta(description="Whether it proved a second factor, also earlier on the same device; null: a failed login."),
    ]


class EndedSession(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    user_id: str


class SessionEvents(msgspec.Struct, frozen=True, kw_only=True):
    items: list[SessionEvent]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    unreadable: Annotated[
        bool, Meta(description="Whether some events could not be applied, so that entries may be missing.")
    ]


class OperatorAction(msgspec.Struct, frozen=True, kw_only=True):
    at: Time
    operator: str
    operator_id: Annotated[str | None, Meta(description="The account; null on the command line.")]
    channel: Annotated[str, Meta(description="`page` or `command_line`; more may be added.")]
    address: Annotated[
        str, Meta(description="The client's, as `VESTNIK_AUDIT_ADDRESS` says; on the command line the machine's name.")
    ]
    action: Annotated[str | UnsetType, Meta(description="The act; absent for a look.")] = UNSET
    what: Annotated[str | UnsetType, Meta(description="What was looked at; absent for an act.")] = UNSET
    target: Annotated[str, Meta(description="What it is about, such as a read model or an id; may be empty.")]
    details: Annotated[dict[str, str] | UnsetType, Meta(description="Of an act.")] = UNSET
    filter: Annotated[dict[str, str] | UnsetType, Meta(description="Of a look.")] = UNSET
    reason: str
    outcome: Annotated[
        str | None,
        Meta(
            description="Of an act: `done`, `failed` or `cancelled`; null for a look, and for an act that is under way "
            "or was interrupted."
        ),
    ]
    error: Annotated[str | UnsetType, Meta(description="Why an act failed.")] = UNSET


class OperatorActions(msgspec.Struct, frozen=True, kw_only=True):
    items: list[OperatorAction]
    older: Annotated[str | None, Meta(description="For `before`: the position of older ones; null if there are none.")]
    unreadable: Annotated[int, Meta(description="Number of events that this release cannot read.")]


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
    state: Annotated[str, Meta(description="`failed`, `parked` (waits for a failed one) or `discarded`.")]
    error: str
    attempts: int | None
    tried_at: Time | None
    at: Time | None
    waiting: Annotated[int | None, Meta(description="Number of events that wait for it.")]
    behind: Annotated[str | None, Meta(description="The id of the dead letter that it waits for.")]
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


class ReportPerson(msgspec.Struct, frozen=True):
    user_id: str
    username: str | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    reporter: ReportPerson
    reported: ReportPerson
    reason: Annotated[
        str,
        Meta(description="`spam`, `harassment`, `violence`, `sexual`, `impersonation` or `other`; more may be added."),
    ]
    messages: Annotated[int, Meta(description="Number of reported messages.")]
    filed_at: Time
    settled_at: Annotated[Time | None, Meta(description="null: the report is open.")]
    outcome: Annotated[str | None, Meta(description="`upheld` or `dismissed`.")]
    settled_by: Annotated[str | None, Meta(description="The operator's name.")]


class Reports(msgspec.Struct, frozen=True):
    items: list[Report]
    older: Annotated[str | None, Meta(description="For `before`: the next page; null if there is none.")]


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    at: Annotated[Time, Meta(description="Of the last event that belongs to it.")]
    since: Annotated[Time, Meta(description="Of the first.")]
    rule: Annotated[
        str,
        Meta(
            description="`account_failures`, `address_failures`, `new_network`, `operator_exports` or "
            "`operator_looks`; more may be added."
        ),
    ]
    user_id: Annotated[str | None, Meta(description="The account that it is about.")]
    username: str | None
    address: Annotated[str | None, Meta(description="An address or a network.")]
    operator: Annotated[str | None, Meta(description="A username, or the login name on the machine.")]
    operator_id: Annotated[str | None, Meta(description="The operator's account; null for the command line.")]
    count: Annotated[int, Meta(description="Number of failed logins, looks or exports.")]
    reason: Annotated[
        str | None, Meta(description="How the password was changed: `password_changed` or `password_reset`.")
    ]


class Anomalies(msgspec.Struct, frozen=True):
    items: list[Anomaly]
    older: Annotated[str | None, Meta(description="For `before`: the next page; null if there is none.")]


class ReportedText(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sequence: Annotated[int, Meta(description="In the conversation.")]
    sender_id: str
    sent_at: Time
    text: Annotated[str, Meta(description="As it was reported; empty if it was deleted before.")]


class ReportTexts(msgspec.Struct, frozen=True, kw_only=True):
    report_id: str
    comment: Annotated[str, Meta(description="Of the reporter.")]
    messages: list[ReportedText]
    note: Annotated[str, Meta(description="Of the operator who settled it.")]
    expired_at: Annotated[Time | None, Meta(description="Since when comment and messages are not shown any more.")]


class SettledReport(msgspec.Struct, frozen=True):
    report_id: str
    outcome: str


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
    open: Annotated[int, Meta(description="Conversations with current friends.")]
    total: int
    messages: Annotated[int, Meta(description="In all conversations, by both people.")]
    unread: int
    last_activity_at: Time | None


class PersonAggregate(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    kind: str
    aggregate_id: str
    with_user_id: Annotated[str | None, Meta(description="The other person, if the aggregate belongs to two.")]


class PersonSeen(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    created_at: Time
    email_verified: bool
    profile: Annotated[PublicProfile | None, Meta(description="null before the address is verified.")]
    sessions: SessionCounts | None
    friends: FriendCounts | None
    conversations: ConversationCounts | None
    dead_letters: Annotated[int | None, Meta(description="The person's own aggregates.")]
    aggregates: Annotated[list[PersonAggregate], Meta(description="The newest ten of each kind, to use with `events`.")]
    unknown: Annotated[list[str], Meta(description="Read models that could not be read; their values are null.")]


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    projection: str
    version: int
    build: int | None
    state: Annotated[
        str,
        Meta(
            description="`applied`, `ignored` (it does not handle this type), `waiting` (it has not read the "
            "event yet), `failed`, `parked`, `discarded` or `missing`."
        ),
    ]
    checkpoint: Annotated[int | None, Meta(description="Its checkpoint in the event's stream.")]
    checkpoint_at: Time | None
    letters: Annotated[list[DeadLetter], Meta(description="Its dead letters for the event's aggregate.")]


class NotificationMade(msgspec.Struct, frozen=True, kw_only=True):
    notification_id: str
    at: Time


class MessageState(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    sender_id: str
    recipient_id: str
    sequence: int
    stored: Annotated[bool, Meta(description="Whether the conversation's messages include it.")]
    open: Annotated[bool | None, Meta(description="Whether the two are friends now; if not, neither can see it.")]
    notification: NotificationMade | None
    seen_at: Time | None


class EventTrace(msgspec.Struct, frozen=True, kw_only=True):
    event: StreamEvent
    stored_at: Time | None
    read_models: Annotated[list[ReadModelState], Meta(description="The read models that read the event's stream.")]
    message: Annotated[MessageState | None, Meta(description="null if the event is not a message.")]


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
    waits_for: Annotated[str | None, Meta(description="The unit, if it is not events.")]


class RowDiffers(msgspec.Struct, frozen=True, kw_only=True):
    table: str
    kind: Annotated[str, Meta(description="`changed`, `missing` from the live table, or `extra` there.")]
    key: dict[str, str]
    columns: Annotated[list[str], Meta(description="Names of the columns that differ; values are not shown.")]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    equal: bool
    rows: int
    events: int
    changed: int
    missing: int
    extra: int
    lost: Annotated[list[str], Meta(description="Events that the streams have lost, such as `MESSAGING:7-9`.")]
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
    verified: Annotated[Verified | None, Meta(description="The result of a verification.")]
    rebuilt: Annotated[Rebuilt | None, Meta(description="The result of a rebuild.")]
    error: str | None


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    projections: Annotated[list[str], Meta(description="The read models that can be verified and rebuilt.")]
    items: Annotated[list[MaintenanceJob], Meta(description="Newest first; only the first can be running.")]


class StreamRates(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    events: Annotated[list[int], Meta(description="One per step, oldest first.")]


class StreamHistory(msgspec.Struct, frozen=True, kw_only=True):
    step_seconds: int
    steps: Annotated[list[Time], Meta(description="The start of each step.")]
    streams: list[StreamRates]
