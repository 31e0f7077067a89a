"""A registration whose address was never verified is erased some time after its end; an account is not."""

from datetime import timedelta

import pytest
from nats.aio.client import Client as NATS

from contracts.envelope import Provenance
from contracts.errors import UserNotFound
from contracts.events.data_keys import DataKeysDestroyed
from contracts.events.user import UserErased
from contracts.personal_data.key_ids import person_key
from contracts.positions import Position
from contracts.subjects import data_keys, user
from services.auth.erasure.registrations import KEPT, EndedRegistrations
from streams.personal_data.key_store import KeyStore
from tests.integration.auth.accounts import account, register
from tests.integration.auth.no_sessions import NoSessions
from tests.integration.auth_and_session import DAY, HOUR, Auth, Clock


async def test_registrations_that_have_ended_for_long_are_erased_once_and_accounts_stay(
    store: KeyStore, streams: NATS, replicas: tuple[Auth, Auth], clock: Clock
) -> None:
    auth = replicas[0]
    anna = await account(auth, "anna")
    emails = {(await register(auth, f"{name}@example.org", name)).user_id: name for name in ("ended", "held", "later")}
    ended, held, verified_later = emails
    users = [anna.user_id, *emails]
    await auth.data_keys(streams).create([person_key(user_id) for user_id in users])
    assert await auth.holds().place(held, "a court's order", Provenance())

    async def address(user_id: str, position: Position) -> str:
        return f"{emails[user_id]}@example.org"

    def sweeping(of: Auth) -> EndedRegistrations:
        erasures = of.erasures(NoSessions(), address)
        return EndedRegistrations(store, of.aggregates.users, erasures, DAY, clock=clock)

    token = await auth.token("later@example.org")
    await auth.commands.verify_email(token, Provenance())
    clock.forward(KEPT + DAY - HOUR)
    assert await sweeping(auth).sweep() == 0
    clock.forward(2 * HOUR)
    assert [await sweeping(of).sweep() for of in replicas] == [1, 0]
    events = [message.open().data for message in await auth.aggregates.log.read(user(ended))]
    assert isinstance(events[-1], UserErased)
    assert events[-1].reason == "registration_ended"
    rings = [message.open().data for message in await auth.aggregates.log.read(data_keys(ended))]
    assert [(event.key_ids, event.reason) for event in rings if isinstance(event, DataKeysDestroyed)] == [
        ((), "registration_ended")
    ]
    with pytest.raises(UserNotFound):
        await auth.data_keys(streams).create([person_key(ended)])
    for user_id in (anna.user_id, held, verified_later):
        assert (await auth.aggregates.users.load(user_id)).state.created_at is not None
    # The name is free, and what was held goes with the release of the hold.
    assert await register(auth, "someone@example.org", "ended")
    await auth.holds().release(held, Provenance())
    assert await sweeping(replicas[1]).sweep() == 1
    # Too old to be looked at again.
    clock.forward(timedelta(days=40))
    assert await sweeping(auth).sweep() == 0
