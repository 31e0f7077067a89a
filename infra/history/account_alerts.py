"""Alerts of accounts as rows of the audit: what happened to passwords, addresses, second factors and tokens."""

from collections.abc import AsyncGenerator

from nats.aio.client import Client

from contracts.envelope import Envelope
from contracts.events.event import Event
from contracts.events.session import AccountAlerted
from contracts.subjects import SESSION, alerts
from infra.history.failed_logins import account_rows
from infra.history.login_audit import Query, Row


async def alert_rows(nc: Client, query: Query, user_id: str | None) -> AsyncGenerator[list[Row], None]:
    """Yields what the owners of accounts were alerted to, in pages, in the order of the stream, up to its current end.

    `user_id`: only of this account, whichever user the query names.

    Raises:
        OperatorError: there is no stream of sessions.
        Unreadable: at the end, if events could not be read.
    """
    async for page in account_rows(nc, query, SESSION, alerts(user_id or "*"), _row):
        yield page


def _row(envelope: Envelope, event: Event) -> Row | None:
    if not isinstance(event, AccountAlerted):
        return None
    return Row(
        at=envelope.at,
        event=event.TYPE,
        user_id=event.user_id,
        username=None,
        session_id=event.session_id,
        device=None,
        address=None,
        reason=event.kind,
    )
