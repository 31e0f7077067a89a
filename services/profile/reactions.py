"""Create a profile for every new user, and empty it when the user is erased. A redelivery has no effect."""

from contracts.durable_consumers import PROFILE_CREATION, PROFILE_ERASURES
from contracts.envelope import Provenance, Recorded
from contracts.events.user import UserCreated, UserErased
from services.profile.commands import ProfileCommands
from services.profile.domain import CreateProfile
from streams.reactions.reaction import Reaction, reacts_to


class ProfileCreation(Reaction):
    durable = PROFILE_CREATION
    at_once = 16

    def __init__(self, commands: ProfileCommands) -> None:
        self._commands = commands

    @reacts_to(UserCreated)
    async def create(self, event: Recorded[UserCreated]) -> None:
        command = CreateProfile(username=event.data.username, display_name=event.data.display_name)
        await self._commands.create(event.aggregate_id, command, Provenance.caused_by(event))


class ProfileErasures(Reaction):
    """Empties the profile of an erased user.

    A consumer of its own: processes of release 0.3 acknowledge the events of `ProfileCreation` that they do not know.
    """

    durable = PROFILE_ERASURES
    at_once = 16

    def __init__(self, commands: ProfileCommands) -> None:
        self._commands = commands

    @reacts_to(UserErased)
    async def erase(self, event: Recorded[UserErased]) -> None:
        await self._commands.erase(event.aggregate_id, Provenance.caused_by(event))
