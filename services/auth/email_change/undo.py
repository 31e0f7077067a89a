"""Undoes a change of an account's address, with the token from the mail to the earlier address.

The account may have been taken over. So in the same batch the password becomes void, which ends every session, a reset
mail is requested to the restored address, and an erasure of the account is cancelled. If the process dies before the
sessions have ended, a reaction ends them (reactions.py).
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import TokenExpired, VestnikError
from contracts.events.user import EmailRestored
from contracts.positions import Position
from contracts.subjects import AUTH
from services.auth import domain
from services.auth.clients import Sessions
from services.auth.conflicts import retry_on_conflict
from services.auth.email_change import decisions
from services.auth.email_change.chain import follow
from services.auth.repositories import Aggregates
from services.auth.tokens.email_change_undo import EmailChangeUndo, EmailChangeUndoTokens

log = logging.getLogger(__name__)


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    # Covers the change and, if it succeeded, the end of the last session.
    position: Position


class EmailChangeUndoing:
    def __init__(
        self,
        aggregates: Aggregates,
        tokens: EmailChangeUndoTokens,
        sessions: Sessions,
        *,
        reset_lifetime: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`reset_lifetime`: of the token in the reset mail."""
        self._aggregates = aggregates
        self._tokens = tokens
        self._sessions = sessions
        self._reset_lifetime = reset_lifetime
        self._clock = clock

    async def undo(self, token: str, provenance: Provenance) -> Undone:
        """Restores the token's address; every later one of the account is free. Idempotent.

        Raises:
            InvalidToken: the signature is not ours.
            TokenExpired: the address is no longer the account's, or the token is of another change, or the account is
                gone.
        """
        undo = self._tokens.read(token)
        provenance = msgspec.structs.replace(provenance, actor=undo.user_id)
        return await retry_on_conflict(lambda: self._undo(undo, provenance))

    async def _undo(self, undo: EmailChangeUndo, provenance: Provenance) -> Undone:
        aggregates, user_id, now = self._aggregates, undo.user_id, self._clock()
        address = await aggregates.addresses.load(undo.claim_key)
        if not decisions.may_undo(address.state, user_id, undo.until, now):
            return Undone(user_id=user_id, position=Position.at(AUTH, address.sequence))
        chain = await follow(aggregates, undo.claim_key, user_id, now)
        restored, *released = decisions.decide_restore([address.loaded.state for address in chain], user_id, now)
        assert isinstance(restored, EmailRestored)
        credential = await aggregates.credentials.load(user_id)
        user = await aggregates.users.load(user_id)
        if user.state.is_gone(now):
            raise TokenExpired
        unpaused = msgspec.structs.replace(restored.address, reset_requested_at=None)
        reset = domain.decide_request_reset(
            unpaused, user_id, credential.state.generation + 1, now, self._reset_lifetime, after_undo=True
        )
        appends = [
            append
            for address, events in zip(chain, [(restored, *reset), *((event,) for event in released)], strict=True)
            for append in aggregates.addresses.appends(address.key, address.loaded, events, provenance)
        ]
        (voided,) = domain.decide_void_after_undo(credential.state, appends[0].envelope.id, undo.until - decisions.HELD)
        appends += aggregates.credentials.appends(user_id, credential, (voided,), provenance)
        appends += aggregates.users.appends(user_id, user, domain.decide_cancel_erasure(user.state, now), provenance)
        position = Position.at(AUTH, (await aggregates.log.append_together(appends))[-1])
        try:
            ended = await self._sessions.end_older(user_id=user_id, event=voided, provenance=provenance)
        except VestnikError as error:
            # The password is void regardless; the reaction ends the sessions as soon as it can.
            log.warning("the sessions of a user will be ended later: %s", error)
        else:
            position = position.merge(ended)
        return Undone(user_id=user_id, position=position)
