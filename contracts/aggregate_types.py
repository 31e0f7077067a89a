"""Every kind of aggregate with its subjects and its event types.

Subjects do not contain the event type: only this table tells which events are on a subject.
"""

import inspect
from collections.abc import Callable

import msgspec

from contracts import subjects
from contracts.events import (
    data_export,
    data_keys,
    dead_letter,
    friendship,
    login_failure,
    message,
    notary,
    operator,
    profile,
    projection,
    report,
    second_factor,
    session,
    user,
)
from contracts.events.event import Event
from contracts.events.loss import EVENTS_LOST
from contracts.subjects import STREAMS, stream_of


class AggregateType(msgspec.Struct, frozen=True):
    """One kind of aggregate."""

    # Builds the subject from the aggregate's id: one of the functions in contracts/subjects.py.
    subject: Callable[..., str]
    events: tuple[type[Event], ...]

    @property
    def name(self) -> str:
        return self.subject.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the variable tokens of its subjects, in the order of the tokens."""
        return tuple(inspect.signature(self.subject).parameters)

    @property
    def address(self) -> str:
        """The subject with named parameters: `vestnik.auth.user.{user_id}`."""
        return self.subject(*(f"{{{name}}}" for name in self.parameters))

    @property
    def pattern(self) -> str:
        """The filter that matches all of its subjects: `vestnik.auth.user.*`."""
        return self.subject(*("*" for _ in self.parameters))

    @property
    def stream(self) -> str:
        return stream_of(self.address)

    @property
    def owner(self) -> str:
        """The only service that appends."""
        return STREAMS[self.stream]

    @property
    def private(self) -> bool:
        """Whether any of its events is private."""
        return any(event.PRIVATE for event in self.events)


def _lost_in(stream: str) -> Callable[[], str]:
    def subject() -> str:
        return subjects.lost_in(stream)

    subject.__name__ = f"lost_in_{STREAMS[stream]}"
    private = "Private: the" if EVENTS_LOST[stream].PRIVATE else "The"
    subject.__doc__ = f"{private} placeholders for events that {stream} has lost."
    return subject


AGGREGATE_TYPES = (
    AggregateType(
        subjects.user,
        (
            user.UserCreated,
            user.UserEmailVerified,
            user.UserErasureRequested,
            user.UserErasureCancelled,
            user.UserErased,
            user.UserErasureCompleted,
        ),
    ),
    AggregateType(
        subjects.credential,
        (user.CredentialSet, user.PasswordChanged, user.PasswordVoided, user.CredentialRehashed),
    ),
    AggregateType(
        subjects.email_claim,
        (
            user.EmailRegistrationRequested,
            user.EmailChangeRequested,
            user.EmailReplaced,
            user.EmailRestored,
            user.EmailReleased,
            user.EmailVerificationMailRequested,
            user.EmailRegistrationEnded,
            user.EmailVerified,
            user.PasswordResetRequested,
            user.EmailClaimed,
            user.EmailVerificationRequested,
        ),
    ),
    AggregateType(subjects.username_claim, (user.UsernameClaimed, user.UsernameConfirmed, user.UsernameReleased)),
    AggregateType(subjects.mail, (user.MailSent, user.MailNotDue)),
    AggregateType(subjects.login_failures, (login_failure.LoginFailed,)),
    AggregateType(subjects.second_factor, second_factor.SECOND_FACTOR_EVENTS),
    AggregateType(subjects.data_export, data_export.DATA_EXPORT_EVENTS),
    AggregateType(subjects.data_keys, data_keys.DATA_KEY_EVENTS),
    AggregateType(subjects.session, (session.SessionCreated, session.SessionRefreshed, session.SessionRevoked)),
    AggregateType(subjects.alerts, (session.AccountAlerted,)),
    AggregateType(subjects.profile, (profile.ProfileCreated, profile.ProfileUpdated)),
    AggregateType(
        subjects.friendship,
        (
            friendship.FriendshipCreated,
            friendship.FriendshipAccepted,
            friendship.FriendshipRemoved,
            friendship.FriendshipBlocked,
            friendship.FriendshipUnblocked,
        ),
    ),
    AggregateType(
        subjects.report, (report.ReportFiled, report.ReportViewed, report.ReportSettled, report.ReportExpired)
    ),
    AggregateType(subjects.conversation, (message.MessageSent,)),
    AggregateType(subjects.message, (message.MessageEdited, message.MessageDeleted, message.ReactionChanged)),
    AggregateType(subjects.read_mark, (message.MessageSeen,)),
    AggregateType(subjects.settings, (message.ConversationUpdated,)),
    AggregateType(subjects.notifications, (message.NotificationRead,)),
    AggregateType(subjects.dead_letter, (dead_letter.DeadLetterDiscarded,)),
    AggregateType(subjects.projection_begin, (projection.ProjectionBegun,)),
    AggregateType(
        subjects.operator_action, (operator.OperatorActed, operator.OperatorActionEnded, operator.OperatorLooked)
    ),
    AggregateType(subjects.tree_head, (notary.TreeHeadSigned, notary.TreeClosed)),
    *(AggregateType(_lost_in(stream), (event,)) for stream, event in EVENTS_LOST.items()),
)

# Keyed by event type.
AGGREGATE_TYPE_OF: dict[str, AggregateType] = {
    event.TYPE: channel for channel in AGGREGATE_TYPES for event in channel.events
}
