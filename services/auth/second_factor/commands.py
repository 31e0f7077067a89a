"""Load, decide, append: sets up, uses and ends a user's second factor."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import InvalidCredentials, InvalidTotp, TotpNotBegun
from contracts.events.event import Event
from contracts.events.second_factor import SealedSecret, SecondFactorState
from contracts.positions import Position
from contracts.subjects import AUTH
from services.auth.failures.failed_logins import FailedLogins
from services.auth.passwords.hashing import Passwords
from services.auth.repositories import Aggregates
from services.auth.second_factor import codes, domain
from services.auth.second_factor.codes import RecoveryDigests
from services.auth.second_factor.domain import AppCode, Proof, RecoveryCode
from services.auth.second_factor.sealing import SecretSeal
from services.auth.tokens.device_tokens import DeviceTokens
from streams.repository import CommandResult


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    # In Base32.
    secret: str
    otpauth_uri: str
    # Rows of modules: `1` is dark.
    qr_code: list[str]


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    recovery_codes: list[str]
    # For the device that entered the code.
    device_token: str
    position: Position


class SecondFactors:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        seal: SecretSeal,
        digests: RecoveryDigests,
        devices: DeviceTokens,
        failures: FailedLogins,
        *,
        host: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`host`: of the deployment, for the account's name in authenticator apps."""
        self._aggregates = aggregates
        self._passwords = passwords
        self._seal = seal
        self._digests = digests
        self._devices = devices
        self._failures = failures
        self._host = host
        self._clock = clock

    async def begin(self, *, user_id: str, password: str, provenance: Provenance, address: str = "") -> Begun:
        """Creates a secret for an authenticator app; nothing else changes until `confirm`. A second one replaces it.

        Raises:
            InvalidCredentials: the password is wrong.
            TotpAlreadyOn: the second factor is on.
            Unavailable: there is no key to seal the secret with.
            Overloaded: too many passwords are waiting.
        """
        credential = await self._check_password(user_id, password, address)
        username = (await self._aggregates.users.load(user_id)).state.username
        secret = codes.new_secret()
        sealed = self._seal.seal(user_id, secret)
        await self._aggregates.second_factors.execute(
            user_id, lambda state: domain.decide_begin(state, sealed, self._clock(), credential), provenance
        )
        uri = codes.otpauth_uri(secret, f"{username}@{self._host}")
        return Begun(secret=secret, otpauth_uri=uri, qr_code=codes.qr_code(uri))

    async def confirm(
        self, *, user_id: str, code: str, session_id: str, provenance: Provenance, address: str = ""
    ) -> Confirmed:
        """Turns the second factor on, with the first code of the secret.

        Raises:
            TotpNotBegun: no set-up awaits a code, or the user has another password since.
            InvalidTotp: the code is wrong.
            Unavailable: the key of the secret is missing.
        """
        recovery_codes = codes.new_recovery_codes()
        digests = tuple(self._digests.of(user_id, recovery_code) for recovery_code in recovery_codes)

        # Before the event: neither the second factor nor the device token may outlive a concurrent reset of the
        # password. A reset that is not seen here is later than `now`, and removes what was turned on before it.
        now = self._clock()
        credential = (await self._aggregates.credentials.load(user_id)).state

        def decide(state: SecondFactorState) -> tuple[Event, ...]:
            if not domain.awaits_code(state, now, credential.generation):
                raise TotpNotBegun
            proof = self._proof(user_id, state.begun, code)
            return domain.decide_confirm(state, proof, digests, now, session_id, credential.generation)

        with self._recording(user_id, address):
            outcome = await self._aggregates.second_factors.execute(user_id, decide, provenance)
        return Confirmed(
            recovery_codes=recovery_codes,
            device_token=self._devices.make(
                user_id, credential.generation, second_factor=outcome.state.generation, proved_at=self._clock()
            ),
            position=Position.at(AUTH, outcome.sequence),
        )

    async def end(
        self, *, user_id: str, password: str, code: str, session_id: str, provenance: Provenance, address: str = ""
    ) -> Position:
        """Turns the second factor off; no event if it is off.

        Raises:
            InvalidCredentials: the password is wrong.
            InvalidTotp: the code is wrong or was used.
            Unavailable: the key of the secret is missing, and the code is no recovery code.
            Overloaded: too many passwords are waiting.
        """
        await self._check_password(user_id, password, address)
        with self._recording(user_id, address):
            outcome = await self._aggregates.second_factors.execute(
                user_id,
                lambda state: domain.decide_end(state, self._proof(user_id, state.secret, code), session_id),
                provenance,
            )
        return Position.at(AUTH, outcome.sequence)

    async def use(self, user_id: str, code: str, provenance: Provenance) -> SecondFactorState:
        """Uses up a code for a login; returns the state after it.

        Raises:
            InvalidTotp: the code is wrong or was used.
            Unavailable: the key of the secret is missing, and the code is no recovery code.
        """
        outcome = await self._aggregates.second_factors.execute(
            user_id, lambda state: domain.decide_use(state, self._proof(user_id, state.secret, code)), provenance
        )
        return outcome.state

    async def remove(
        self,
        user_id: str,
        *,
        reason: str,
        provenance: Provenance,
        on_between: tuple[datetime, datetime] | None = None,
    ) -> CommandResult[SecondFactorState]:
        """Turns the second factor off without a code; no event if it is off. Idempotent.

        `on_between`: only if it was turned on in that time, ends included.
        """
        return await self._aggregates.second_factors.execute(
            user_id, lambda state: domain.decide_remove(state, reason, on_between), provenance
        )

    def _proof(self, user_id: str, sealed: SealedSecret | None, entered: str) -> Proof:
        """Checks the entered code against the secret; returns what it proves.

        Raises:
            InvalidTotp: it has the form of an app's code, and is not one of the secret.
            Unavailable: the secret cannot be opened.
        """
        code = codes.normalized(entered)
        if sealed is None or not codes.is_app_code(code):
            return RecoveryCode(digest=self._digests.of(user_id, code))
        secret = self._seal.open(user_id, sealed)
        counters = codes.matching_steps(secret, code, self._clock())
        if not counters:
            raise InvalidTotp
        return AppCode(counters=counters, secret=self._seal.renewed(user_id, sealed, secret))

    async def _check_password(self, user_id: str, password: str, address: str) -> int:
        """Returns the generation of the credential that was proved."""
        credential = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(password, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise InvalidCredentials
        return credential.generation

    @contextmanager
    def _recording(self, user_id: str, address: str) -> Iterator[None]:
        """Records a wrong code; one of a login is recorded there."""
        try:
            yield
        except InvalidTotp:
            self._failures.record(user_id, "wrong_code", address=address)
            raise
