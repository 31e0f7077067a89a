"""The audit of logins: who logged in, from where, and when and why each session ended, read from the stream.

An expired session has no event of its own. Its end is at the expiry time in its last event, and is inserted among the
events of that time.
"""

import heapq
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

import msgspec
from nats.aio.client import Client

from contracts import catalogue
from contracts.envelope import now
from contracts.events.event import Event
from contracts.events.session import SessionCreated, SessionRefreshed, SessionRevoked
from contracts.subjects import SESSION, session
from contracts.values.addresses import Network, overlap, parse_network
from contracts.values.ids import is_id
from infra.history.event_history import end_of, is_after
from infra.history.usernames import Usernames
from infra.operator_errors import OperatorError
from streams.log import Log
from streams.message import Message
from streams.reader import Reader

EXPIRED_EVENT, EXPIRED = "session.expired", "expired"
OPERATOR = "operator"
# Why sessions end, as `Query.reason` names it.
ENDS = (
    "account_erased",
    "erasure_requested",
    EXPIRED,
    "logout",
    "not_me",
    OPERATOR,
    "password_changed",
    "password_reset",
    "refresh_token_reused",
    "revoked_elsewhere",
)
_TOLD = 5


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Selects rows of the audit."""

    # An id or a username.
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    # Whether to include refreshes: one every few minutes for every session in use.
    refreshes: bool = False
    # Only sessions from this network, or from a recorded network that it is part of.
    network: Network | None = None
    # Only devices whose description contains this text, in any case.
    device: str | None = None
    # Only ends and failures of this reason; `operator`: by any operator.
    reason: str | None = None

    def wants(self, row: "Row") -> bool:
        if self.reason is not None and (row.reason is None or kind_of(row.reason) != self.reason):
            return False
        return (self.since is None or row.at >= self.since) and (self.until is None or row.at < self.until)

    def wants_origin(self, device: str | None, address: str | None) -> bool:
        if self.device is not None and self.device.casefold() not in (device or "").casefold():
            return False
        if self.network is None:
            return True
        network = parse_network(address or "")
        return network is not None and overlap(network, self.network)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit."""

    at: datetime
    event: str
    # None: a failed login that no account has. So is the username.
    user_id: str | None
    username: str | None
    # None: of a failed login.
    session_id: str | None
    # Of the login; None if it was forgotten.
    device: str | None
    address: str | None
    # None unless the session ended or the login failed.
    reason: str | None
    # How many failed logins the line stands for; None: it is about a session.
    count: int | None = None


AnyRow = TypeVar("AnyRow", bound=Row)
# Usernames by the ids of accounts.
Names = Mapping[str, str | None]


class Unreadable(OperatorError):
    """Some events could not be read, so the audit is incomplete."""

    def __init__(self, positions: list[str]) -> None:
        self.positions = positions
        more = f" and {len(positions) - _TOLD} more" if len(positions) > _TOLD else ""
        super().__init__(f"the audit is incomplete, these events cannot be read: {', '.join(positions[:_TOLD])}{more}")


class _Open(msgspec.Struct):
    """An open session."""

    user_id: str
    username: str
    device: str | None
    address: str | None
    expires_at: datetime


class LoginAudit:
    """Turns the events of sessions, in order, into rows; keeps the open sessions in memory."""

    def __init__(self, query: Query, present: datetime) -> None:
        self._query = query
        self._now = present
        self._open: dict[str, _Open] = {}
        # Heap of possible expiries, soonest first; an entry is updated when its time comes.
        self._expiries: list[tuple[datetime, str]] = []

    def add(self, session_id: str, event: Event, at: datetime, actor: str | None) -> Iterator[Row]:
        """Yields the sessions that expired before the event, then the event's own row, if any."""
        yield from self.expired_rows(at)
        match event:
            case SessionCreated() if self._is_wanted(event):
                session = _Open(event.user_id, event.username, *self._origin(event), event.expires_at)
                self._open[session_id] = session
                heapq.heappush(self._expiries, (event.expires_at, session_id))
                yield _row(session_id, session, at, event.TYPE)
            case SessionRefreshed() if session_id in self._open:
                session = self._open[session_id]
                if event.expires_at < session.expires_at:
                    # The setting was lowered.
                    heapq.heappush(self._expiries, (event.expires_at, session_id))
                session.expires_at = event.expires_at
                if self._query.refreshes:
                    yield _row(session_id, session, at, event.TYPE)
            case SessionRevoked() if session_id in self._open:
                session = self._open.pop(session_id)
                yield _row(session_id, session, at, event.TYPE, reason_of(event.reason, actor, event.note))

    def expired_rows(self, until: datetime) -> Iterator[Row]:
        """Yields the sessions that expired up to `until`, in the order of their ends."""
        while self._expiries and self._expiries[0][0] <= until:
            expires_at, session_id = heapq.heappop(self._expiries)
            session = self._open.get(session_id)
            if session is None:
                continue
            if session.expires_at > expires_at:
                heapq.heappush(self._expiries, (session.expires_at, session_id))
                continue
            del self._open[session_id]
            yield _row(session_id, session, session.expires_at, EXPIRED_EVENT, EXPIRED)

    def _is_wanted(self, login: SessionCreated) -> bool:
        user, query = self._query.user, self._query
        if user is not None and user != login.user_id and user.lower() != login.username.lower():
            return False
        return query.wants_origin(*self._origin(login))

    def _origin(self, login: SessionCreated) -> tuple[str, str]:
        """The device and the address of a login; both empty once their term has ended.

        They can still be read then: their key is destroyed up to some weeks after the term.
        """
        until = login.origin_until
        return (login.device, login.address) if until is None or self._now < until else ("", "")


async def audit_rows(nc: Client, query: Query) -> AsyncGenerator[list[Row], None]:
    """Yields the audit of sessions in pages, in the order of time, up to the current end of the stream.

    The stream is read from its beginning, whatever `since` is: a session that ends today may have begun long ago.

    Raises:
        OperatorError: there is no stream of sessions.
        Unreadable: at the end, if events could not be read.
    """
    present = now()
    trail, usernames, unreadable = LoginAudit(query, present), Usernames(Log(nc)), list[str]()
    last = present if query.until is None else min(present, query.until)
    async for messages in messages_of(nc, SESSION, session("*"), query.until):
        page = [row for message in messages for row in _followed(trail, message, unreadable)]
        yield await with_operators([row for row in page if query.wants(row)], usernames.of)
    yield [row for row in trail.expired_rows(last) if query.wants(row)]
    if unreadable:
        raise Unreadable(unreadable)


async def messages_of(
    nc: Client, stream: str, subject_filter: str, until: datetime | None, *, after: int = 0
) -> AsyncGenerator[list[Message], None]:
    """Yields the messages that pass the filter, in pages, up to a time or the current end of the stream.

    `after`: messages after this stream sequence.

    Raises:
        OperatorError: there is no such stream.
    """
    end = await end_of(nc, stream)
    if end is None:
        raise OperatorError(f"there is no stream {stream} yet")
    if end <= after:
        return
    async with Reader(nc, stream, subject_filter=subject_filter, name="audit", after=after) as reader:
        async for batch in reader.batches():
            messages = [message for message in batch.messages if message.sequence <= end]
            yield messages
            if batch.position >= end or batch.pending == 0 or (messages and is_after(messages[-1], until)):
                return


def _followed(trail: LoginAudit, message: Message, unreadable: list[str]) -> Iterator[Row]:
    try:
        envelope = message.envelope()
        event = catalogue.decode(envelope.type, envelope.schema, envelope.data)
    except (msgspec.DecodeError, LookupError):
        unreadable.append(f"{message.stream} {message.sequence}")
        return
    yield from trail.add(envelope.aggregate_id, event, envelope.at, envelope.actor)


def _row(session_id: str, session: _Open, at: datetime, event: str, reason: str | None = None) -> Row:
    return Row(
        at=at,
        event=event,
        user_id=session.user_id,
        username=session.username,
        session_id=session_id,
        device=session.device,
        address=session.address,
        reason=reason,
    )


def reason_of(reason: str, actor: str | None, note: str | None) -> str:
    """The reason in the event; for an operator also their name and note: `operator alice: stolen phone`.

    An operator with an account is named by its id: `with_operators` replaces it.
    """
    if reason != OPERATOR:
        return reason
    who = (actor or "").removeprefix(f"{OPERATOR}:")
    return f"{OPERATOR} {who}".rstrip() + (f": {note}" if note else "")


async def with_operators(rows: list[AnyRow], usernames: Callable[[set[str]], Awaitable[Names]]) -> list[AnyRow]:
    """The rows with the usernames of operators instead of their accounts' ids; of an erased account the id stays."""
    ids = {account for row in rows if (account := _account_in(row.reason)) is not None}
    names = await usernames(ids) if ids else {}
    return [
        msgspec.structs.replace(row, reason=(row.reason or "").replace(account, name, 1))
        if (account := _account_in(row.reason)) is not None and (name := names.get(account))
        else row
        for row in rows
    ]


def _account_in(reason: str | None) -> str | None:
    """The id of the operator's account that a reason names."""
    who = (reason or "").partition(":")[0].removeprefix(f"{OPERATOR} ")
    return who if who != reason and is_id(who) else None


def kind_of(reason: str) -> str:
    """The reason without the operator's name and note."""
    return OPERATOR if reason.startswith((f"{OPERATOR} ", f"{OPERATOR}:")) else reason
