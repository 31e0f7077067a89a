"""The durable consumers: positions in a stream that JetStream keeps for a service, independent of its processes.

Their names are part of the contract. They never change, and the permissions of a NATS server name them: only the
owning service may use a consumer.
"""

from datetime import timedelta
from typing import Literal

import msgspec

from contracts.notification_kinds import ALERT_MAX_AGE
from contracts.subjects import AUTH, PUBLIC_FILTERS, SESSION, key_of, parked_by, stream_of_bucket


class Durable(msgspec.Struct, frozen=True, kw_only=True):
    # Begins with the name of the owning service.
    name: str
    service: str
    stream: str
    subject_filter: str
    # Events that wait for their next attempt; at this number no other event is delivered.
    most_pending: int = 1_000
    # Where a new consumer begins: with the first event of the stream, or with those stored after its creation.
    begin: Literal["first", "now"] = "first"
    # With "first": events that were stored longer before the consumer was created are not delivered; None: all are.
    max_age: timedelta | None = None


# Mails that are never dropped wait for their mailbox's next hour, and must not delay those to other mailboxes.
VERIFICATION_MAIL = Durable(
    name="auth-verification-mail",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.email.>",
    most_pending=100_000,
)
# Separate, so that waiting notices do not delay mails; those that wait for their mailbox's next hour are no outage.
SECURITY_NOTICES = Durable(
    name="auth-security-notices",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.email.>",
    most_pending=100_000,
)
PASSWORD_ENDINGS = Durable(
    name="auth-password-endings", service="auth", stream=AUTH, subject_filter="vestnik.auth.credential.*"
)
# Alerts that wait until an account or its mailbox has room are no outage. A new consumer leaves out the events that are
# too old for an alert.
SESSION_ALERTS = Durable(
    name="auth-session-alerts",
    service="auth",
    stream=SESSION,
    subject_filter=PUBLIC_FILTERS[SESSION],
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
PASSWORD_ALERTS = Durable(
    name="auth-password-alerts",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.credential.*",
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
EMAIL_ALERTS = Durable(
    name="auth-email-alerts",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.email.*",
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
SECOND_FACTOR_ALERTS = Durable(
    name="auth-second-factor-alerts",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.second_factor.*",
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
# Separate: a mail does not wait until others' files are made.
DATA_EXPORT_MAKING = Durable(
    name="auth-data-exports", service="auth", stream=AUTH, subject_filter="vestnik.auth.data_export.*"
)
DATA_EXPORT_MAILS = Durable(
    name="auth-data-export-mails", service="auth", stream=AUTH, subject_filter="vestnik.auth.data_export.*"
)
DATA_EXPORT_ALERTS = Durable(
    name="auth-data-export-alerts",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.data_export.*",
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
DATA_KEY_DESTRUCTION = Durable(
    name="auth-data-key-destruction",
    service="auth",
    stream=AUTH,
    subject_filter="vestnik.auth.data_keys.*",
    most_pending=100_000,
)
# Of what users request for the whole account.
ACCOUNT_ALERTS = Durable(
    name="auth-account-alerts",
    service="auth",
    stream=AUTH,
    subject_filter=PUBLIC_FILTERS[AUTH],
    most_pending=100_000,
    max_age=ALERT_MAX_AGE,
)
# No event from before can be of interest: the release that creates the consumer is the first with erasures. What is
# erased before the consumer exists is found by the sweep that completes erasures.
ERASURES = Durable(name="auth-erasures", service="auth", stream=AUTH, subject_filter=PUBLIC_FILTERS[AUTH], begin="now")
PROFILE_CREATION = Durable(name="profile-creation", service="profile", stream=AUTH, subject_filter=PUBLIC_FILTERS[AUTH])
# No release before this consumer's first has erased anybody.
PROFILE_ERASURES = Durable(
    name="profile-erasures",
    service="profile",
    stream=AUTH,
    subject_filter=PUBLIC_FILTERS[AUTH],
    max_age=timedelta(days=30),
)

DURABLES = (
    VERIFICATION_MAIL,
    SECURITY_NOTICES,
    PASSWORD_ENDINGS,
    SESSION_ALERTS,
    PASSWORD_ALERTS,
    EMAIL_ALERTS,
    SECOND_FACTOR_ALERTS,
    DATA_EXPORT_MAKING,
    DATA_EXPORT_MAILS,
    DATA_EXPORT_ALERTS,
    DATA_KEY_DESTRUCTION,
    ACCOUNT_ALERTS,
    ERASURES,
    PROFILE_CREATION,
    PROFILE_ERASURES,
)


def retries_of(durable: Durable) -> Durable:
    """The consumer of the retries that operators request of the reaction's parked events."""
    bucket = parked_by(durable.service)
    return Durable(
        name=f"{durable.name}-retries",
        service=durable.service,
        stream=stream_of_bucket(bucket),
        subject_filter=key_of(bucket, f"{durable.name}.*"),
    )
