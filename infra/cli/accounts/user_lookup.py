"""Accounts by name or id, from the stream of accounts itself."""

from contracts import subjects
from contracts.events.event import Event
from contracts.events.user import UsernameClaimed, UsernameConfirmed
from contracts.values.ids import is_id
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.auth.claim_keys import ClaimKeys
from streams.log import Log


async def events_of(log: Log, settings: Settings, user: str) -> tuple[str, list[Event]]:
    """The id of the account that has this username or id, and its events; none where there is no such account."""
    user_id = user if is_id(user) else await _holder(log, settings, user)
    return user_id, [message.open().data for message in await log.read(subjects.user(user_id))] if user_id else []


async def _holder(log: Log, settings: Settings, username: str) -> str:
    """Whose the username is, or was reserved for last."""
    keys = ClaimKeys(Secrets.load(settings.secrets_path).claims_key)
    message = await log.last(subjects.username_claim(keys.of_username(username)))
    event = None if message is None else message.open().data
    return event.user_id if isinstance(event, UsernameClaimed | UsernameConfirmed) else ""
