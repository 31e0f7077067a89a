"""Looks up accounts by name or id in the stream."""

from contracts import subjects
from contracts.events.event import Event
from contracts.events.user import UsernameClaimed, UsernameConfirmed
from contracts.values.ids import is_id
from infra.operator_errors import OperatorError
from infra.security.secrets import MissingSecret, Secrets
from infra.settings import Settings
from services.auth.claim_keys import ClaimKeys
from services.operator.actions.domain import UNKNOWN_NAME
from streams.log import Log


class NoSuchUser(OperatorError):
    """There is no user with this name or id."""

    def __init__(self, user: str) -> None:
        super().__init__(f"there is no user {user}")


async def events_of(log: Log, settings: Settings, user: str) -> tuple[str, list[Event]]:
    """Returns the id of the account with this username or id, and its events; no events if there is none."""
    user_id = user if is_id(user) else await _holder(log, settings, user)
    return user_id, [message.open().data for message in await log.read(subjects.user(user_id))] if user_id else []


async def recorded_as(log: Log, settings: Settings, user: str) -> str:
    """Returns how a look for a username or id is recorded: as the id, since an erasure does not reach the record."""
    if is_id(user):
        return user
    try:
        return await _holder(log, settings, user) or UNKNOWN_NAME
    except MissingSecret:
        return UNKNOWN_NAME


async def _holder(log: Log, settings: Settings, username: str) -> str:
    """Returns the id of the account that holds the username or reserved it last; empty if there is none."""
    keys = ClaimKeys(Secrets.load(settings.secrets_path).claims_key)
    message = await log.last(subjects.username_claim(keys.of_username(username)))
    event = None if message is None else message.open().data
    return event.user_id if isinstance(event, UsernameClaimed | UsernameConfirmed) else ""
