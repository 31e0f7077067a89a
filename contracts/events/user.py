"""Events of a user: registration, claims on an e-mail address and a username, verification, mails sent.

Aggregates: `user` (public), `credential`, `email`, `username`, `mail` (private).
"""

from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment
from contracts.values.personal_data import Personal


class UserCreated(Event, frozen=True, kw_only=True):
    """On the user's subject; the last event of a registration's batch."""

    TYPE: ClassVar[str] = "user.created"
    username: Personal[str]
    # The user's preferred name; the profile starts with it.
    display_name: Personal[str] | None = None


class UserEmailVerified(Event, frozen=True, kw_only=True):
    """On the user's subject, in one batch with `email.verified` and `username.confirmed`."""

    TYPE: ClassVar[str] = "user.email_verified"


class UserErasureRequested(Event, frozen=True, kw_only=True):
    """On the user's subject: the user wants the account erased; a login before `erase_at` cancels it."""

    TYPE: ClassVar[str] = "user.erasure_requested"
    erase_at: Moment


class UserErasureCancelled(Event, frozen=True, kw_only=True):
    """On the user's subject: the user has logged in again, and the account stays."""

    TYPE: ClassVar[str] = "user.erasure_cancelled"


class UserErased(Event, frozen=True, kw_only=True):
    """On the user's subject: the account is gone forever, and the keys of its personal data are destroyed next."""

    TYPE: ClassVar[str] = "user.erased"
    # `requested`: by the user; `operator`; `registration_ended`: its address was never verified
    reason: str

    @property
    def ended_registration(self) -> bool:
        """Whether a registration ended without an account: no other user ever saw this one."""
        return self.reason == "registration_ended"


class UserErasureCompleted(Event, frozen=True, kw_only=True):
    """On the user's subject: the keys are destroyed, and no process has one of them in its memory any more.

    What was read of the user's data between `user.erased` and this event is erased with this event.
    """

    TYPE: ClassVar[str] = "user.erasure_completed"


class CredentialSet(Event, frozen=True, kw_only=True):
    """On the credential's subject: the hash that a login is checked against."""

    TYPE: ClassVar[str] = "credential.set"
    PRIVATE: ClassVar[bool] = True
    # bcrypt, in its text form with cost and salt.
    password_hash: str
    # The input of bcrypt. `bcrypt`: the password itself; `bcrypt-hmac-sha384`: the Base64 of its HMAC under a key.
    scheme: str = "bcrypt"
    # The key's id, if there is one.
    key_id: str | None = None


class PasswordChanged(Event, frozen=True, kw_only=True):
    """On the credential's subject: a new password; sessions opened with an older one end, except the kept one."""

    TYPE: ClassVar[str] = "password.changed"
    PRIVATE: ClassVar[bool] = True
    # bcrypt, in its text form with cost and salt.
    password_hash: str
    # Of the credential: 1 after registration, one more with each change.
    generation: int
    # `password_changed`: by knowledge of the old one; `password_reset`: by possession of the mail.
    reason: str
    # The session in which it was changed.
    kept_session_id: str | None = None
    # Both as in `credential.set`.
    scheme: str = "bcrypt"
    key_id: str | None = None
    # Generation set by the last reset by mail or undo of a change of the address before this event; 0: none.
    reset_generation: int = 0
    # Of a reset that follows `password.voided`: `reported_at` of that.
    reported_at: Moment | None = None


class PasswordVoided(Event, frozen=True, kw_only=True):
    """On the credential's subject: there is no password until a reset.

    The owner has reported an alert as not them, or has undone a change of the address. Sessions opened with an older
    generation end.
    """

    TYPE: ClassVar[str] = "password.voided"
    PRIVATE: ClassVar[bool] = True
    generation: int
    # Id and time of the reported event; the earliest one if several are reported. Of an undo: the id of its
    # `email.restored`, and when the address was changed.
    reported: str
    reported_at: Moment
    # As in `password.changed`; of an undo its own generation, so that no token mailed before is valid; 0 of a report
    # that restores an earlier address.
    reset_generation: int = 0


class CredentialRehashed(Event, frozen=True, kw_only=True):
    """On the credential's subject: the same password, hashed with the current scheme; no session ends.

    After a return to an earlier address the hash is the same too: a new generation voids the tokens mailed before.
    """

    TYPE: ClassVar[str] = "credential.rehashed"
    PRIVATE: ClassVar[bool] = True
    password_hash: str
    # Both unchanged; after a return one more.
    generation: int
    changed_by: str = ""
    # Both as in `credential.set`.
    scheme: str = "bcrypt"
    key_id: str | None = None
    # Unchanged; after a return its generation.
    reset_generation: int = 0


class PendingRegistration(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A registration that awaits the verification of its address, or the change of an account's address to it."""

    user_id: str
    # As the user typed it.
    email: Personal[str]
    username: Personal[str]
    # End of the time for verification; never extended.
    expires_at: Moment
    # Language of its mails.
    language: str = "en"
    # Of a change: claim key of the account's current address, which this one is to replace. None: a registration.
    replaces: str | None = None
    # Of a change: generation of the account's credential at the request; another password ends the change.
    credential: int = 0


class AddressState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The state of an e-mail address, contained in each event on its subject, so that the last one is enough."""

    # The user who verified the address; None while it is unverified.
    owner: str | None = None
    # After a change of the account's address: end of the time in which this one is still the account's. None: it is
    # the account's current address.
    owner_until: Moment | None = None
    # After a change: claim key of the address that replaced this one.
    replaced_by: str = ""
    # After a change: claim key of the address that this one replaced.
    replaces: str = ""
    # Times of the account's changes of the last days, oldest first, that led to this address.
    changed_at: tuple[Moment, ...] = ()
    # As the owner typed it.
    email: Personal[str] | None = None
    username: Personal[str] = ""
    # Language of the owner's mails.
    language: str = "en"
    # Registrations and changes, oldest first. Those on an address that has another owner are listed too, but cannot be
    # verified.
    pending: tuple[PendingRegistration, ...] = ()
    reset_requested_at: Moment | None = None


class EmailRegistrationRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: a registration was made with it, whether or not it has an owner."""

    TYPE: ClassVar[str] = "email.registration_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState


class EmailChangeRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: a user wants it as the address of their account, whether or not it has an owner."""

    TYPE: ClassVar[str] = "email.change_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState


class EmailReplaced(Event, frozen=True, kw_only=True):
    """On the subject of the account's earlier address: another one replaced it; it stays the account's for some days.

    In one batch with the other address's `email.verified`.
    """

    TYPE: ClassVar[str] = "email.replaced"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState


class EmailRestored(Event, frozen=True, kw_only=True):
    """On the subject of an earlier address: it is the account's current one again.

    In one batch with `email.released` of each address that had replaced it.
    """

    TYPE: ClassVar[str] = "email.restored"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState


class EmailReleased(Event, frozen=True, kw_only=True):
    """On the address's subject: it is free, because the change that made it the account's was undone."""

    TYPE: ClassVar[str] = "email.released"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState
    # For the notice to this address: how the account spelled it, the account's name and language.
    email: Personal[str] | None = None
    username: Personal[str] = ""
    language: str = "en"


class EmailVerificationMailRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: another verification mail was requested, for all pending registrations."""

    TYPE: ClassVar[str] = "email.verification_mail_requested"
    PRIVATE: ClassVar[bool] = True
    address: AddressState


class EmailRegistrationEnded(Event, frozen=True, kw_only=True):
    """On the address's subject: the recipient of the mail rejected a registration, or a change, as not theirs."""

    TYPE: ClassVar[str] = "email.registration_ended"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    address: AddressState


class EmailClaimed(Event, frozen=True, kw_only=True):
    """On the address's subject: it belongs to the user until `expires_at`, and permanently once verified.

    An older form: read, and appended no more.
    """

    TYPE: ClassVar[str] = "email.claimed"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    email: Personal[str]
    # For the greeting of the verification mail.
    username: Personal[str]
    expires_at: Moment


class EmailVerificationRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: its owner requested another verification mail, which extends the claim.

    An older form: read, and appended no more.
    """

    TYPE: ClassVar[str] = "email.verification_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    expires_at: Moment


class EmailVerified(Event, frozen=True, kw_only=True):
    """On the address's subject: the user verified and now owns it; nothing else is pending on it.

    It ends a registration, or a change of the account's address.
    """

    TYPE: ClassVar[str] = "email.verified"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    # None in events of the older form.
    address: AddressState | None = None


class PasswordResetRequested(Event, frozen=True, kw_only=True):
    """On the address's subject: a password reset mail for its owner was requested."""

    TYPE: ClassVar[str] = "password.reset_requested"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    # Generation of the credential that may be replaced: any password change invalidates the token.
    credential: int
    expires_at: Moment
    # None in events of the older form.
    address: AddressState | None = None
    # Whether the undo of a change of the address requested it: the owner needs that mail to get in again.
    after_undo: bool = False


class UsernameClaimed(Event, frozen=True, kw_only=True):
    """On the name's subject: it is reserved for a registration."""

    TYPE: ClassVar[str] = "username.claimed"
    PRIVATE: ClassVar[bool] = True
    user_id: str
    # End of the registration; the name is free again from then on. None in events of the older form.
    expires_at: Moment | None = None


class UsernameConfirmed(Event, frozen=True, kw_only=True):
    """On the name's subject: it permanently belongs to the user, whose address is verified."""

    TYPE: ClassVar[str] = "username.confirmed"
    PRIVATE: ClassVar[bool] = True
    user_id: str


class UsernameReleased(Event, frozen=True, kw_only=True):
    """On the name's subject: it is free again, because the registration ended."""

    TYPE: ClassVar[str] = "username.released"
    PRIVATE: ClassVar[bool] = True
    user_id: str


class MailSent(Event, frozen=True, kw_only=True):
    """On the mailbox's subject: a mail was sent. Its envelope's `causation_id` is the event that requested it.

    In the older form it is on the user's mail subject.
    """

    TYPE: ClassVar[str] = "mail.sent"
    PRIVATE: ClassVar[bool] = True
    # `verification`, `verification_again`, `password_reset`, `password_reset_after_undo`, `address_taken`,
    # `email_change`, `email_change_requested`, `email_changed`, `email_change_undone`, `alert_` and an alert's kind
    kind: str
    # Id of the event that requested the mail; no two events share one.
    requested_by: str
    # For a security notice: key of the address concerned. For an alert: the user.
    about: str = ""


class MailNotDue(Event, frozen=True, kw_only=True):
    """On a mail subject of its own: a mail was requested that is not sent; for whom is not recorded.

    It is stored so that a request takes the same time for known and unknown addresses, however slow the streams.
    """

    TYPE: ClassVar[str] = "mail.not_due"
    PRIVATE: ClassVar[bool] = True
    # `verification`, `password_reset`
    kind: str
