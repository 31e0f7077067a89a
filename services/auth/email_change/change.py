"""Commands that change an account's address: request a change, and confirm it with the token mailed to the new one.

Confirming appends one batch under the conditions of both addresses. So of a confirmation and a registration on the new
address, and of two changes of one account, exactly one succeeds.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import InvalidCredentials, PasswordRequired, TokenExpired
from contracts.events.event import Event
from contracts.events.user import PendingRegistration
from contracts.positions import Position
from services.auth import domain
from services.auth.claim_keys import ClaimKeys
from services.auth.conflicts import retry_on_conflict
from services.auth.email_change import decisions
from services.auth.email_change.chain import Address, OwnAddress, follow, present_address
from services.auth.failures.failed_logins import FailedLogins
from services.auth.passwords.hashing import Passwords
from services.auth.registration.decisions import as_of
from services.auth.registration.email_lookup import email_key
from services.auth.repositories import Aggregates
from services.auth.tokens.email_verification import Verification
from streams.log import Conflict


class EmailChanges:
    def __init__(
        self,
        aggregates: Aggregates,
        passwords: Passwords,
        keys: ClaimKeys,
        failures: FailedLogins,
        *,
        lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`lifetime`: of a pending change."""
        self._aggregates = aggregates
        self._passwords = passwords
        self._keys = keys
        self._failures = failures
        self._lifetime = lifetime
        self._clock = clock

    async def request(
        self,
        *,
        user_id: str,
        email: str,
        password: str,
        own_address: OwnAddress,
        position: Position,
        provenance: Provenance,
        address: str = "",
    ) -> int:
        """Requests the change; returns the stream sequence of the request.

        `address`: of the client, to be recorded if the password is wrong.

        The response, the event and the duration are the same whether the new address is free, another account's or the
        account's own.

        Raises:
            InvalidCredentials: the password is wrong, or was changed meanwhile.
            RateLimited: the account has changed its address too often.
            Overloaded: too many passwords are waiting to be checked.
            UserNotFound, ReadModelBehind, Unavailable: the account's current address cannot be looked up.
        """
        credential = (await self._aggregates.credentials.load(user_id)).state
        if not await self._passwords.matches(password, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise InvalidCredentials

        generation = credential.generation

        async def attempt() -> int:
            nonlocal generation
            now = self._clock()
            present = await present_address(self._aggregates, self._keys, own_address, user_id, position, self._clock)
            state = present.loaded.state
            decisions.check_changes_left(state, now)
            change = PendingRegistration(
                user_id=user_id,
                email=email,
                username=state.username,
                expires_at=now + self._lifetime,
                language=state.language,
                replaces=present.key,
                credential=generation,
            )
            key = await email_key(self._aggregates.addresses, self._keys, email)
            new_address = await self._aggregates.addresses.load(key)
            # After the current address was read: an undo, which changes both, is seen in both or in neither.
            current = (await self._aggregates.credentials.load(user_id)).state
            if current.generation != generation:
                if current.hashed != credential.hashed:
                    raise InvalidCredentials
                # A return to an earlier address keeps the password: the current address is another one.
                generation = current.generation
                raise Conflict(present.key, present.loaded.sequence)
            requested = decisions.decide_request(new_address.state, change, now)
            (append,) = self._aggregates.addresses.appends(key, new_address, requested, provenance)
            return await self._aggregates.log.append(append)

        return await retry_on_conflict(attempt)

    async def confirm(
        self, verification: Verification, password: str | None, provenance: Provenance, *, address: str = ""
    ) -> int:
        """Makes the new address the account's; returns the stream sequence of the change.

        `address`: of the client, to be recorded if the password is wrong.

        An address that the account has left less than `HELD` ago is restored, those that replaced it are freed, and
        every token that was mailed before is void.

        Raises:
            TokenExpired: the token has expired, or the address, or the account's own one or password has changed since.
            PasswordRequired: the password is missing.
            InvalidCredentials: it is wrong.
            Conflict: one of the addresses has changed meanwhile.
        """
        aggregates, user_id, new_key = self._aggregates, verification.user_id, verification.claim_key
        now, new = self._clock(), await aggregates.addresses.load(new_key)
        credential = (await aggregates.credentials.load(user_id)).state
        change = decisions.change_of(new.state, user_id, now)
        if change is None:
            raise TokenExpired
        decisions.check_token(new.state, change, verification.expires_at, credential.generation, now)
        if password is None:
            raise PasswordRequired("The account's password is needed to confirm its new address.")
        if not await self._passwords.matches(password, credential.hashed):
            self._failures.record(user_id, "wrong_password", address=address)
            raise InvalidCredentials
        proved = await aggregates.credentials.load(user_id)
        if proved.state.generation != credential.generation:
            raise TokenExpired
        chain, events = await self._replacement(change, Address(new_key, new), now)
        # The addresses that a return frees may have received tokens.
        voided = domain.decide_void_tokens(proved.state) if as_of(new.state, now).owner == user_id else ()
        appends = [
            append
            for link, event in zip(chain, events, strict=True)
            for append in aggregates.addresses.appends(link.key, link.loaded, (event,), provenance)
        ]
        appends += aggregates.credentials.appends(user_id, proved, voided, provenance)
        return (await aggregates.log.append_together(appends))[-1]

    async def _replacement(
        self, change: PendingRegistration, new: Address, now: datetime
    ) -> tuple[list[Address], Sequence[Event]]:
        """Returns the addresses that the change concerns, and the event of each.

        Raises:
            TokenExpired: the account's current address is no longer the one that was to be replaced.
        """
        assert change.replaces is not None
        user_id, held = change.user_id, as_of(new.loaded.state, now)
        if held.owner == user_id:
            chain = [new, *await follow(self._aggregates, held.replaced_by, user_id, now)]
            present = chain[-1]
        else:
            present = Address(change.replaces, await self._aggregates.addresses.load(change.replaces))
            chain = [present, new]
        if present.key != change.replaces or not decisions.is_present(present.loaded.state, user_id):
            raise TokenExpired("The account's address has changed since; request the change again.")
        if held.owner == user_id:
            return chain, decisions.decide_restore([link.loaded.state for link in chain], user_id, now)
        return chain, decisions.decide_replace(present.loaded.state, change, new.key, now)
