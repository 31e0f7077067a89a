"""Requests of an account's erasure, the erasure itself, and the events that it leaves."""

from datetime import datetime

from contracts import subjects
from contracts.events.event import Event
from services.auth.erasure.commands import Erasures
from services.auth.erasure.decisions import ErasureTerms
from tests.integration.auth.accounts import NO_ACTOR, Account
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import ERASURE, PASSWORD, Auth

GRACE, REUSE = ERASURE.grace, ERASURE.name_reuse


def erasures(auth: Auth, who: Account, terms: ErasureTerms = ERASURE) -> Erasures:
    return auth.erasures(NoSessions(), who.own_address, terms)


async def delete(auth: Auth, who: Account, password: str = PASSWORD, terms: ErasureTerms = ERASURE) -> datetime:
    """Requests the erasure; returns when it is due."""
    requested = await erasures(auth, who, terms).request(user_id=who.user_id, password=password, provenance=NO_ACTOR)
    return requested.erase_at


async def erase(auth: Auth, who: Account) -> bool:
    return (await erasures(auth, who).erase(who.user_id, "requested", NO_ACTOR)).erased


async def events(auth: Auth, user_id: str) -> list[type[Event]]:
    """The events of the user, after those of the registration."""
    messages = await auth.aggregates.log.read(subjects.user(user_id))
    return [type(message.open().data) for message in messages][2:]


async def last(auth: Auth, subject: str) -> Event:
    message = await auth.aggregates.log.last(subject)
    assert message is not None
    return message.open().data
