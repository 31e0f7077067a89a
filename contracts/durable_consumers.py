"""The durable consumers: a place in a stream that JetStream keeps for a service, whatever becomes of its processes.

Their names are agreed upon, because they are for ever, and because a NATS server that hands out rights has to name
them: nobody but its service may touch one.
"""

import msgspec

from contracts.subjects import AUTH, PUBLIC_FILTERS


class Durable(msgspec.Struct, frozen=True, kw_only=True):
    # Begins with the name of the service that it belongs to.
    name: str
    service: str
    stream: str
    subject_filter: str


VERIFICATION_MAIL = Durable(
    name="auth-verification-mail", service="auth", stream=AUTH, subject_filter="vestnik.auth.email.>"
)
SECURITY_NOTICES = Durable(
    name="auth-security-notices", service="auth", stream=AUTH, subject_filter="vestnik.auth.email.>"
)
PASSWORD_ENDINGS = Durable(
    name="auth-password-endings", service="auth", stream=AUTH, subject_filter="vestnik.auth.credential.*"
)
PROFILE_CREATION = Durable(name="profile-creation", service="profile", stream=AUTH, subject_filter=PUBLIC_FILTERS[AUTH])

DURABLES = (VERIFICATION_MAIL, SECURITY_NOTICES, PASSWORD_ENDINGS, PROFILE_CREATION)
