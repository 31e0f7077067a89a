"""Table: the kinds of aggregates whose states can be shown, each with its domain's initial state and `evolve`.

The only module that imports the domains of other services: a domain is pure, and only its owner knows the states
(docs/decisions/0100).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from contracts import subjects
from contracts.aggregate_types import AGGREGATE_TYPES, AggregateType
from contracts.events.event import Event
from services.auth import domain as auth
from services.auth.data_export import domain as data_export
from services.auth.data_keys import domain as data_keys
from services.auth.failures import domain as failures
from services.contact import domain as contact
from services.messaging import domain as messaging
from services.messaging.changes import domain as message
from services.messaging.settings import domain as settings
from services.profile import domain as profile
from services.session import domain as session
from services.session.alerts import domain as alerts


class AggregateKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of aggregate, and how its state follows from its events."""

    # Builds its subject: one of the functions in contracts/subjects.py.
    subject: Callable[..., str]
    initial: Any
    evolve: Callable[[Any, Event, datetime], Any]
    # Whether the last event alone determines the state, so that no earlier one is read (streams/repository.py).
    tail_only: bool = False
    # Fields of the state that are shown to no one.
    secrets: frozenset[str] = frozenset()

    @property
    def aggregate_type(self) -> AggregateType:
        return next(candidate for candidate in AGGREGATE_TYPES if candidate.subject is self.subject)

    @property
    def name(self) -> str:
        """As in the subject: `read` for a read mark."""
        return self.aggregate_type.address.split(".")[2]

    def subject_of(self, aggregate_id: str) -> str:
        return self.subject(*aggregate_id.split("."))

    def next_state(self, state: object | None, event: Event | None, at: datetime) -> object | None:
        """The state after one more event; None if it is unknown, since an event up to this one cannot be read."""
        if event is None or (state is None and not self.tail_only):
            return None
        after: object = self.evolve(self.initial if state is None else state, event, at)
        return after


_ROWS = (
    AggregateKind(subject=subjects.user, initial=auth.User(), evolve=auth.evolve_user),
    AggregateKind(
        subject=subjects.credential,
        initial=auth.Credential(),
        evolve=auth.evolve_credential,
        tail_only=True,
        secrets=frozenset({"password_hash"}),
    ),
    AggregateKind(
        subject=subjects.login_failures,
        initial=failures.LoginFailures(),
        evolve=failures.evolve_login_failures,
        tail_only=True,
    ),
    AggregateKind(subject=subjects.data_export, initial=data_export.DataExports(), evolve=data_export.evolve),
    AggregateKind(subject=subjects.data_keys, initial=data_keys.KeyRing(), evolve=data_keys.evolve),
    AggregateKind(subject=subjects.session, initial=session.Session(), evolve=session.evolve, tail_only=True),
    AggregateKind(subject=subjects.alerts, initial=alerts.Alerts(), evolve=alerts.evolve_alerts, tail_only=True),
    AggregateKind(subject=subjects.profile, initial=profile.Profile(), evolve=profile.evolve),
    AggregateKind(subject=subjects.friendship, initial=contact.Friendship(), evolve=contact.evolve, tail_only=True),
    AggregateKind(
        subject=subjects.conversation,
        initial=messaging.Conversation(),
        evolve=messaging.evolve_conversation,
        tail_only=True,
    ),
    AggregateKind(subject=subjects.message, initial=message.Message(), evolve=message.evolve_message),
    AggregateKind(
        subject=subjects.read_mark, initial=messaging.ReadMark(), evolve=messaging.evolve_read_mark, tail_only=True
    ),
    AggregateKind(
        subject=subjects.settings,
        initial=settings.Settings(),
        evolve=settings.evolve_settings,
        tail_only=True,
    ),
    AggregateKind(
        subject=subjects.notifications,
        initial=messaging.Notifications(),
        evolve=messaging.evolve_notifications,
        tail_only=True,
    ),
)
KINDS: dict[str, AggregateKind] = {kind.name: kind for kind in _ROWS}
# The other aggregate types by name, and why their states are not shown.
NOT_SHOWN: dict[str, str] = {
    "email_claim": "only its holder may learn whether an address has an account",
    "username_claim": "it is named by a key of auth; the user's own aggregate has the username",
    "second_factor": "it holds the secret of an authenticator app; `vestnik events` shows when it changed",
    "mail": "it is named by a key of auth, and tells which address has an account",
    "report": "its texts are for the operator who settles it, and each view of them is recorded",
    "operator_action": "a single act or look, which `vestnik audit operators` shows",
    "tree_head": "what the notary signed about a stream; `vestnik events` shows when",
    "dead_letter": "a single decision, which `vestnik dead-letters` shows",
    "projection_begin": "it never changes after its only event",
    **dict.fromkeys((f"lost_in_{owner}" for owner in subjects.STREAMS.values()), "placeholders without a state"),
}
