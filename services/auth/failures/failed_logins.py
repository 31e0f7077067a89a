"""Records failed logins in the background, so that nothing about them can be learned from an answer's time.

`record` only puts the failure into a bounded queue, with the same work for every failure. A second later, at the
latest, it is in the memory of the recording task, which appends what is due; see domain.py for the limits. A process
that is killed loses the failures of its last second and the counts that were not due yet.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import KeysUnavailable, UserNotFound, VestnikError
from contracts.events.login_failure import UNKNOWN, FailureReason, LoginFailed
from contracts.values.addresses import Keeps, truncate_address
from services.auth.failures import domain
from services.auth.failures.domain import Failure, LoginFailures, Pending
from streams.repository import BrokenHistory, Repository

log = logging.getLogger(__name__)
# Seconds.
_INTERVAL = 1.0
_FINAL = 3.0
# Failures that wait for the recording task, and accounts whose failures wait for an event.
_MOST_QUEUED = 10_000
_MOST_ACCOUNTS = 10_000


class FailedLogins:
    def __init__(
        self,
        failures: Repository[LoginFailures],
        *,
        keeps_addresses: Keeps = "full",
        keep_origins: timedelta | None = None,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`keep_origins`: how long addresses and devices are kept; None: as long as the account."""
        self._failures = failures
        self._keep_origins = keep_origins
        self._keeps_addresses = keeps_addresses
        self._clock = clock
        # User id (None: no account has the login), and the failure with its whole address.
        self._queue: deque[tuple[str | None, Failure]] = deque()
        self._pending: dict[str, Pending] = {}
        # Failures without an event because too many waited.
        self._dropped = 0
        self._writing = asyncio.Lock()

    def record(self, user_id: str | None, reason: FailureReason, *, address: str, device: str = "") -> None:
        """Notes a failed login, or a failed proof of a logged-in user; an event follows. Does not block or raise.

        `user_id`: None if no account has the login. `address`: of the client; `device`: its own description.
        """
        if len(self._queue) >= _MOST_QUEUED:
            self._dropped += 1
        else:
            self._queue.append((user_id, Failure(reason=reason, address=address, device=device, at=self._clock())))

    async def run(self) -> None:
        """Records until it is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self.flush()

    async def close(self) -> None:
        """Records everything that waits, counts too; gives up after 3 seconds."""
        try:
            async with asyncio.timeout(_FINAL):
                await self.flush(final=True)
        except TimeoutError:
            pass
        self._take_queued()
        if lost := sum(pending.total for pending in self._pending.values()):
            log.error("%d failed logins were not recorded before the process ended", lost)

    async def flush(self, *, final: bool = False) -> None:
        """Appends the events that are due; the rest waits. Until the event store answers, all of them wait.

        `final`: counts are due at once.
        """
        async with self._writing:
            self._take_queued()
            now = self._clock()
            for account, pending in list(self._pending.items()):
                if not final and pending.resumes_at is not None and now < pending.resumes_at:
                    continue
                try:
                    await self._append(account, pending, final=final)
                except UserNotFound:
                    # Erased since.
                    self._pending.pop(account, None)
                except KeysUnavailable:
                    # Of one account: others' are not held up.
                    pending.resumes_at = now + domain.PAUSE
                except VestnikError as error:
                    log.warning("failed logins cannot be recorded yet: %s", error)
                    return
                except (BrokenHistory, msgspec.DecodeError, LookupError) as error:
                    # The last event is of a newer release, or is none: logins must not end with it.
                    log.error("failed logins of %s cannot be recorded: %s", account, error)
                    pending.resumes_at = now + domain.PAUSE
                # A slow event store must not fill the queue.
                self._take_queued()

    async def _append(self, account: str, pending: Pending, *, final: bool) -> None:
        user_id = None if account == UNKNOWN else account
        rest = pending

        def decide(state: LoginFailures) -> tuple[LoginFailed, ...]:
            nonlocal rest
            events, rest = domain.decide_record(
                state, user_id, pending, self._clock(), final=final, keep_origins=self._keep_origins
            )
            return events

        await self._failures.execute(account, decide, Provenance())
        if rest.total:
            self._pending[account] = rest
        else:
            del self._pending[account]

    def _take_queued(self) -> None:
        """Moves the queued failures to their accounts."""
        while self._queue:
            user_id, failure = self._queue.popleft()
            account = UNKNOWN if user_id is None else user_id
            pending = self._pending.get(account)
            if pending is None:
                if len(self._pending) >= _MOST_ACCOUNTS:
                    self._dropped += 1
                    continue
                pending = self._pending[account] = Pending()
            address = truncate_address(failure.address, self._keeps_addresses)
            pending.add(Failure(reason=failure.reason, address=address, device=failure.device, at=failure.at))
        if self._dropped:
            log.error("%d failed logins are not recorded: too many at once", self._dropped)
            self._dropped = 0
