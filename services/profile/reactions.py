"""Creates a profile for every new user. Idempotent, so a redelivery is harmless."""

from nats.aio.client import Client as NATS

from contracts.durable_consumers import PROFILE_CREATION
from contracts.envelope import Provenance, Recorded
from contracts.events.event import Event
from contracts.events.user import UserCreated
from contracts.values.personal_data import plaintext_or_none
from services.profile.commands import ProfileCommands
from services.profile.domain import CreateProfile
from streams.reaction import EventReactor


async def create_profiles(nats: NATS, commands: ProfileCommands) -> None:
    """Reacts to `user.created` until cancelled."""

    async def create(event: Recorded[Event]) -> None:
        if not isinstance(event.data, UserCreated):
            return
        command = CreateProfile(username=event.data.username, display_name=plaintext_or_none(event.data.display_name))
        provenance = Provenance.caused_by(event)
        await commands.create(event.aggregate_id, command, provenance)

    await EventReactor(nats, PROFILE_CREATION, create, at_once=16).run()
