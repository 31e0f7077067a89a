"""Events of a user's second factor: codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

Aggregate: `second_factor` (private). Each event contains the whole state after it, so that the last one is enough.
"""

from typing import ClassVar

import msgspec

from contracts.events.event import Event, Moment


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An authenticator app's secret, encrypted under a key of the deployment."""

    # The end of the key's id, in hex.
    key: str
    # Base64 of nonce and ciphertext.
    ciphertext: str


class SecondFactorState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    # Incremented when the second factor is turned on or off; devices are remembered for one generation.
    generation: int = 0
    # None while the second factor is off.
    secret: SealedSecret | None = None
    # When it was turned on.
    on_since: Moment | None = None
    # Time step of the last code that was used: no code of this step or an earlier one is accepted.
    counter: int = 0
    # Digests of the recovery codes that were not used yet.
    recovery_codes: tuple[str, ...] = ()
    # The secret of a set-up that awaits its first code.
    begun: SealedSecret | None = None
    # When that set-up lapses.
    begun_until: Moment | None = None
    # Generation of the credential that it was begun with: another password ends it.
    begun_with: int = 0


class TotpBegun(Event, frozen=True, kw_only=True):
    """A set-up began: the user was shown a secret. Nothing changes until it is confirmed."""

    TYPE: ClassVar[str] = "totp.begun"
    PRIVATE: ClassVar[bool] = True
    state: SecondFactorState


class TotpConfirmed(Event, frozen=True, kw_only=True):
    """The user entered a code of the secret: the second factor is on."""

    TYPE: ClassVar[str] = "totp.confirmed"
    PRIVATE: ClassVar[bool] = True
    # The session in which it was turned on.
    session_id: str | None = None
    state: SecondFactorState


class TotpUsed(Event, frozen=True, kw_only=True):
    """A login used up a code of the app; this code and all earlier ones are not accepted again."""

    TYPE: ClassVar[str] = "totp.used"
    PRIVATE: ClassVar[bool] = True
    state: SecondFactorState


class RecoveryCodeUsed(Event, frozen=True, kw_only=True):
    """A login used up a recovery code, which is not accepted again."""

    TYPE: ClassVar[str] = "recovery_code.used"
    PRIVATE: ClassVar[bool] = True
    state: SecondFactorState


class TotpRemoved(Event, frozen=True, kw_only=True):
    """The second factor is off."""

    TYPE: ClassVar[str] = "totp.removed"
    PRIVATE: ClassVar[bool] = True
    # `user`; `not_me`: the owner of the mailbox undid what others did; `operator`
    reason: str
    # The session in which it was turned off, by its user.
    session_id: str | None = None
    state: SecondFactorState


SECOND_FACTOR_EVENTS = (TotpBegun, TotpConfirmed, TotpUsed, RecoveryCodeUsed, TotpRemoved)
