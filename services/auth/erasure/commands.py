"""Load, decide, append: requests the erasure of an account, and erases it once the grace is over.

The erasure is one batch on the conditions of the user, the name and the addresses: of an erasure and a login that
cancels it, a change of the address, or another replica's erasure, exactly one is first. What has to follow
(reactions.py) happens once the batch is stored.
"""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec

from contracts import envelope, subjects
from contracts.envelope import Provenance
from contracts.errors import InvalidCredentials, Unavailable, UserNotFound, VestnikError
from contracts.positions import Position
from contracts.subjects import AUTH, SESSION
from services.auth.claim_keys import ClaimKeys
from services.auth.clients import Sessions
from services.auth.conflicts import retry_on_conflict
from services.auth.data_keys import domain as data_keys
from services.auth.domain import ACCOUNT_ERASED, ERASURE_REQUESTED, User
from services.auth.email_change.chain import OwnAddress, earlier, present_address
from services.auth.erasure import decisions
from services.auth.erasure.decisions import ErasureTerms, Reason
from services.auth.failures.failed_logins import FailedLogins
from services.auth.passwords.hashing import Passwords
from services.auth.registration import decisions as registration
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from streams.log import Append, Conflict
from streams.repository import LoadedAggregate

log = logging.getLogger(__name__)


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    erase_at: datetime
    # Covers the request and, if it succeeded, the end of the last session.
    position: Position


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    # False: the account had been erased before, or its erasure is not due.
    erased: bool
    # When another account can use the name and the addresses, of an erasure by this call. None: at once, without a
    # verified address; or never, where they cannot be read.
    free_at: datetime | None = None
    position: Position


class _Unreadable(UserNotFound):
    """The account's address cannot be read: the loss of its key was accepted."""


class Erasures:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        keys: ClaimKeys,
        sessions: Sessions,
        own_address: OwnAddress,
        failures: FailedLogins,
        terms: ErasureTerms,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._aggregates = aggregates
        self._passwords = passwords
        self._keys = keys
        self._sessions = sessions
        self._own_address = own_address
        self._failures = failures
        self._terms = terms
        self._clock = clock

    async def request(
        self, *, user_id: str, password: str, provenance: Provenance, address: str = ""
    ) -> ErasureRequest:
        """Requests the erasure of the account and ends all its sessions. Idempotent until a login cancels it.

        `address`: of the client, to be recorded if the password is wrong.

        Raises:
            InvalidCredentials: the password is wrong, or was changed meanwhile; or the account is gone.
            Overloaded: too many passwords are waiting to be checked.
        """
        credential = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(password, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise InvalidCredentials
        outcome = await self._aggregates.users.execute(
            user_id, lambda user: decisions.decide_request(user, self._clock(), self._terms), provenance
        )
        erase_at = outcome.state.erase_at
        assert erase_at is not None
        now = (await self._aggregates.credentials.load(user_id)).state
        # The same password may have another hash, or another generation.
        if now.generation != credential.generation and now.hashed != credential.hashed:
            # Another password may be the owner's answer to someone who has this one.
            if outcome.events:
                await self._withdraw(user_id, erase_at, provenance)
            raise InvalidCredentials
        ended = await self._end_sessions(user_id, ERASURE_REQUESTED, provenance)
        position = Position.at(AUTH, outcome.sequence).merge(ended)
        if erase_at <= self._clock():
            await self._erase_now(user_id, provenance)
        return ErasureRequest(erase_at=erase_at, position=position)

    async def erase(self, user_id: str, reason: Reason, provenance: Provenance) -> Erasure:
        """Erases the account: for `requested` once it is due, for `operator` at once, for `registration_ended` if its
        address was never verified. Idempotent. Its sessions end with it, or soon after.

        Raises:
            UserNotFound: there is no such user.
            LegalHold: there is one on the user's data.
            ReadModelBehind, Unavailable: the account's address cannot be looked up now.
        """
        erasure = await retry_on_conflict(lambda: self._erase(user_id, reason, provenance))
        # Without a verified address there was no session.
        if not erasure.erased or reason == "registration_ended":
            return erasure
        ended = await self._end_sessions(user_id, ACCOUNT_ERASED, provenance)
        return msgspec.structs.replace(erasure, position=erasure.position.merge(ended))

    async def cancel_after_login(self, user_id: str) -> bool:
        """Cancels a requested erasure if the user has logged in before it was due; returns whether that was so.

        A login cancels it by itself, but not at a replica of a release that does not know of erasures.

        Raises:
            ReadModelBehind, Unavailable, DeadlineExceeded: it is not known now whether the user has.
        """
        user = (await self._aggregates.users.load(user_id)).state
        requested_at, erase_at = user.requested_at, user.erase_at
        if user.erased or requested_at is None or erase_at is None:
            return False
        everything = Position.at(SESSION, await self._aggregates.log.end_of(SESSION))
        if not await self._sessions.logged_in_between(user_id, requested_at, erase_at, everything):
            return False
        return await self._withdraw(user_id, erase_at, Provenance(actor=user_id))

    async def complete(self, user_id: str) -> None:
        """Records that nothing holds the keys of the erased user's data any more. Idempotent."""
        await self._aggregates.users.execute(user_id, decisions.decide_complete, Provenance())

    async def _erase_now(self, user_id: str, provenance: Provenance) -> None:
        try:
            await self.erase(user_id, "requested", provenance)
        except VestnikError as error:
            log.warning("an account that is to be erased at once is erased by the next sweep: %s", error)

    async def _withdraw(self, user_id: str, erase_at: datetime, provenance: Provenance) -> bool:
        outcome = await self._aggregates.users.execute(
            user_id, lambda user: decisions.decide_withdraw(user, erase_at), provenance
        )
        return bool(outcome.events)

    async def _end_sessions(self, user_id: str, reason: str, provenance: Provenance) -> Position:
        try:
            return await self._sessions.end_all(user_id=user_id, reason=reason, provenance=provenance)
        except VestnikError as error:
            # The reaction ends them as soon as it can.
            log.warning("the sessions of a user will be ended later: %s", error)
            return Position()

    async def _erase(self, user_id: str, reason: Reason, provenance: Provenance) -> Erasure:
        aggregates, now = self._aggregates, self._clock()
        user = await aggregates.users.load(user_id)
        erased = decisions.decide_erase(user.state, reason, now)
        if not erased:
            return Erasure(erased=False, position=Position.at(AUTH, user.sequence))
        free_at = now + self._terms.name_reuse
        ring = await aggregates.data_keys.load(user_id)
        destroyed = data_keys.decide_destroy(ring.state, (), _reason_of_keys(reason))
        try:
            claims, known = await self._claims(user_id, user, now, free_at, provenance)
        except (Unavailable, UserNotFound) as error:
            if (await aggregates.users.load(user_id)).sequence == user.sequence:
                raise
            # Erased meanwhile: its addresses are none of its own any more.
            raise Conflict(subjects.user(user_id), user.sequence) from error
        # The public event comes last: a consumer that sees it sees the whole erasure.
        appends = [
            *aggregates.data_keys.appends(user_id, ring, destroyed, provenance),
            *claims,
            *aggregates.users.appends(user_id, user, erased, provenance),
        ]
        sequences = await aggregates.log.append_together(appends)
        self._forget(appends)
        return Erasure(
            erased=True,
            free_at=free_at if user.state.email_verified and known else None,
            position=Position.at(AUTH, sequences[-1]),
        )

    async def _claims(
        self,
        user_id: str,
        user: LoadedAggregate[User],
        now: datetime,
        free_at: datetime,
        provenance: Provenance,
    ) -> tuple[list[Append], bool]:
        """Returns the appends on the claims of the name and the addresses, and whether all of these are known.

        Their claims are found by what they claim. That cannot be read once the loss of the person's key was accepted:
        then the claims stay, and no one else gets the name and the addresses.
        """
        is_lost = not user.state.username
        claims = [] if is_lost else await self._name(user_id, user.state, free_at, provenance)
        try:
            claims += await self._addresses(user_id, user.state, user.sequence, now, free_at, provenance)
        except UserNotFound as error:
            if not is_lost and not isinstance(error, _Unreadable):
                raise
            is_lost = True
        if is_lost:
            log.warning("the name or addresses of an account that is erased cannot be read, and stay taken")
        return claims, not is_lost

    async def _name(self, user_id: str, user: User, free_at: datetime, provenance: Provenance) -> list[Append]:
        key = self._keys.of_username(user.username)
        name = await self._aggregates.usernames.load(key)
        if user.email_verified:
            events = decisions.decide_reserve_name(name.state, user_id, free_at)
        else:
            events = registration.decide_release_username(name.state, user_id)
        return self._aggregates.usernames.appends(key, name, events, provenance)

    async def _addresses(
        self, user_id: str, user: User, sequence: int, now: datetime, free_at: datetime, provenance: Provenance
    ) -> list[Append]:
        aggregates, registered = self._aggregates, Position.at(AUTH, sequence)
        if not user.email_verified:
            email = await self._address(user_id, registered)
            key = await email_key(aggregates.addresses, self._keys, email)
            address = await aggregates.addresses.load(key)
            ended = registration.decide_end(address.state, user_id, now)
            return aggregates.addresses.appends(key, address, ended, provenance)
        present = await present_address(aggregates, self._keys, self._address, user_id, registered, self._clock)
        left = await earlier(aggregates, present.loaded.state, user_id, now)
        return [
            append
            for link in (present, *left)
            for append in aggregates.addresses.appends(
                link.key,
                link.loaded,
                decisions.decide_release_address(link.loaded.state, user_id, free_at, now),
                provenance,
            )
        ]

    async def _address(self, user_id: str, position: Position) -> str:
        email = await self._own_address(user_id, position)
        if not email:
            raise _Unreadable
        return email

    def _forget(self, appends: list[Append]) -> None:
        """Drops the cached states from before the erasure, which have personal data."""
        aggregates = self._aggregates
        for append in appends:
            aggregate_id = append.envelope.aggregate_id
            for repository in (aggregates.users, aggregates.usernames, aggregates.addresses):
                repository.forget(aggregate_id)
            aggregates.credentials.forget(aggregate_id)
            aggregates.second_factors.forget(aggregate_id)


def _reason_of_keys(reason: Reason) -> str:
    return data_keys.REGISTRATION_ENDED if reason == "registration_ended" else data_keys.ERASURE
