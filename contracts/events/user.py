"""What happens to a user: registration, the claims on an e-mail and a username, verification, mails sent.

Aggregates: `user` (public), `credential`, `email`, `username`, `mail` (private).
"""

from typing import ClassVar

from contracts.event import Event, Moment
from contracts.personal import Personal


class UserCreated(Event, frozen=True, kw_only=True):
    """On the user's subject; the last event of the batch that registers."""

    TYPE: ClassVar[str] = "user.created"
    username: str
    # What the user wants to be called; the profile starts with it.
    display_name: Personal[str] | None = None


class UserEmailVerified(Event, frozen=True, kw_only=True):
    """On the user's subject, in one batch with the claim's `email.verified`."""

    TYPE: ClassVar[str] = "user.email_verified"


class CredentialSet(Event, frozen=True, kw_only=True):
    """On the credential's subject: the hash that a login is checked against."""

    TYPE: ClassVar[str] = "credential.set"
    PRIVATE: ClassVar[bool] = True
    # bcrypt, in its text form with cost and salt.
    password_hash: str
    # What bcrypt was given: `bcrypt`, the password itself; `bcrypt-hmac-sha384`, the Base64 of its HMAC under a key.
    scheme: str = "bcrypt"
    # Which key, where there is one.
    key_id: str | None = None


class PasswordChanged(Event, frozen=True, kw_only=True):
    """On the credential's subject: another password; sessions that an older one opened end, but for the one kept."""

    TYPE: ClassVar[str] = "password.changed"
    PRIVATE: ClassVar[bool] = True
    # bcrypt, in its text form with cost and salt.
    password_hash: str
    # Of the credential: 1 after registration, one more with each change.
    generation: int
    # `password_changed` by who knew the old one, `password_reset` by who has the mail.
    reason: str
    # The session in which it was changed.
    kept_session_id: str | None = None
    # Both as in `credential.set`.
    scheme: str = "bcrypt"
    key_id: str | None = None


class CredentialRehashed(Event, frozen=True, kw_only=True):
    """On the credential's subject: the same password, hashed as it is done today; ends nothing."""

    TYPE: ClassVar[str] = "credential.rehashed"
    PRIVATE: ClassVar[bool] = True
    password_hash: str
    # Both as before.
    generation: int
    changed_by: str = ""
    # Both as in `credential.set`.
    scheme: str = "bcrypt"
    key_id: str | None = None


class EmailClaimed(Event, frozen=True, kw_only=True):
    """On the address's subject: it belongs to the user until `expires_at`, and for good once verified."""

    TYPE: ClassVar[str] = "email.claimed"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    email: Personal[str]
    # For the greeting of the verification mail.
    username: str
    expires_at: Moment


class EmailVerificationRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: its holder asked for another verification mail, which prolongs the claim."""

    TYPE: ClassVar[str] = "email.verification_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    expires_at: Moment


class EmailVerified(Event, frozen=True, kw_only=True):
    """On the address's subject: the claim no longer lapses."""

    TYPE: ClassVar[str] = "email.verified"
    PRIVATE: ClassVar[bool] = True
    user_id: str


class PasswordResetRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: somebody asked for a mail with which its holder can set another password."""

    TYPE: ClassVar[str] = "password.reset_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    # The generation of the credential that may be replaced: any change of the password spends the token.
    credential: int
    expires_at: Moment


class UsernameClaimed(Event, frozen=True, kw_only=True):
    """On the name's subject: it belongs to the user."""

    TYPE: ClassVar[str] = "username.claimed"
    PRIVATE: ClassVar[bool] = True
    user_id: str


class MailSent(Event, frozen=True, kw_only=True):
    """On the user's mail subject: a mail went out. Its envelope's `causation_id` is the event that asked for it."""

    TYPE: ClassVar[str] = "mail.sent"
    PRIVATE: ClassVar[bool] = True
    # `verification`, `password_reset`
    kind: str
    # Id of the event that asked for the mail; never two of the same.
    requested_by: str


class MailNotDue(Event, frozen=True, kw_only=True):
    """On a mail subject of its own: a mail was asked for that nobody is to get, and for whom is not said.

    It is stored so that asking takes the same time whether an address is somebody's or not, however slow the streams.
    """

    TYPE: ClassVar[str] = "mail.not_due"
    PRIVATE: ClassVar[bool] = True
    # `verification`, `password_reset`
    kind: str
