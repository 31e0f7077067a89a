"""Who may use the operators' page: an operator's account, with a second factor, logged in lately and active.

Activity is kept in memory by session. After a restart a session is active if its login was recent, so an operator may
have to log in again early, and never stays longer.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from contracts.errors import NotAnOperator, ReauthenticationRequired, SecondFactorRequired
from contracts.values.addresses import Keeps, truncate_address
from infra.operator_errors import OperatorError
from infra.rpc.call_context import ClientSession, current
from infra.security.operator_accounts import Operator, Operators
from services.operator.actions.domain import Actor
from streams.lru_cache import LruCache

log = logging.getLogger(__name__)
# From the login.
LONGEST = timedelta(hours=12)
# From the last act or look.
IDLE = timedelta(minutes=30)
_SESSIONS = 10_000


class OperatorAccess:
    def __init__(
        self,
        operators: Operators,
        *,
        second_factor: bool,
        keeps_addresses: Keeps,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`second_factor`: whether operators need one. `keeps_addresses`: how much of an address is recorded."""
        self._operators = operators
        self._second_factor = second_factor
        self._keeps_addresses = keeps_addresses
        self._clock = clock
        # When each session was active last.
        self._active: LruCache[str, datetime] = LruCache(_SESSIONS)

    def check(self, user_id: str, *, active: bool = True) -> Actor:
        """Returns the calling operator; the service token names this user (contracts/services.py), and their session.

        `active`: whether the call is an act or a look, which keeps the login alive, and not the page's own polling.

        Raises:
            NotAnOperator: the user is not an operator, or the list of operators cannot be read.
            SecondFactorRequired: the session's login came without a second factor, and operators need one.
            ReauthenticationRequired: the login is too old, or the session was not active for too long.
        """
        operator = self._find(user_id)
        session = current().session
        if session is None:
            # From a gateway of an earlier release.
            raise ReauthenticationRequired
        if self._second_factor and not session.second_factor:
            raise SecondFactorRequired
        self._check_age(session, active=active and not session.unattended)
        address = truncate_address(session.address, self._keeps_addresses)
        return Actor(name=operator.username, user_id=operator.user_id, channel="page", address=address)

    def _find(self, user_id: str) -> Operator:
        try:
            operator = self._operators.find(user_id)
        except OperatorError as failure:
            log.error("%s", failure)
            raise NotAnOperator from failure
        if operator is None:
            raise NotAnOperator
        return operator

    def _check_age(self, session: ClientSession, *, active: bool) -> None:
        now, logged_in_at = self._clock(), datetime.fromtimestamp(session.logged_in_at, UTC)
        last = max(logged_in_at, self._active.get(session.session_id) or logged_in_at)
        if now - logged_in_at >= LONGEST or now - last >= IDLE:
            raise ReauthenticationRequired
        if active:
            self._active.put(session.session_id, now)
