"""Load, decide, append: creates and updates profiles."""

from contracts.envelope import Provenance
from contracts.errors import ProfileNotFound
from contracts.positions import Position
from contracts.subjects import AUTH, PROFILE, profile
from infra.rpc.call_context import Call
from services.profile.domain import (
    CreateProfile,
    OwnProfile,
    Profile,
    PublicProfile,
    UpdateProfile,
    decide_create,
    decide_erase,
    decide_update,
    evolve,
    to_own,
)
from services.profile.queries import ProfileQueries, Registration
from streams.log import Log
from streams.repository import Repository


def profile_repository(log: Log) -> Repository[Profile]:
    return Repository(log, subject=profile, initial=Profile(), evolve=evolve)


class ProfileCommands:
    def __init__(self, log: Log, repository: Repository[Profile], queries: ProfileQueries) -> None:
        self._log = log
        self._repository = repository
        self._queries = queries

    async def create(self, user_id: str, command: CreateProfile, provenance: Provenance) -> int:
        """Creates the profile unless it exists. Returns the stream sequence of its last event."""
        outcome = await self._repository.execute(user_id, lambda state: decide_create(state, command), provenance)
        return outcome.sequence

    async def erase(self, user_id: str, provenance: Provenance) -> None:
        """Empties the profile of a user who was erased, once for the same cause."""
        last = await self._log.last_stored(profile(user_id))
        if last is not None and last.envelope().causation_id != provenance.causation_id:
            await self._repository.execute(user_id, decide_erase, provenance)

    async def update(self, user_id: str, command: UpdateProfile, call: Call) -> tuple[OwnProfile, Position]:
        """Updates the profile and returns it.

        Raises:
            ProfileNotFound: there is no such user.
            StaleProfile: the profile has none of the tags in `if_match`.
        """
        verified = await self._verified(user_id, call)
        outcome = await self._repository.execute(
            user_id,
            lambda state: decide_update(user_id, state, command, verified=verified),
            call.provenance(),
        )
        return to_own(user_id, outcome.state, verified=verified), Position.at(PROFILE, outcome.sequence)

    async def get(self, user_id: str, call: Call) -> tuple[PublicProfile, Position]:
        """Returns what others see of the profile.

        Raises: as `get_own`.
        """
        profile, position = await self.get_own(user_id, call)
        return profile.public(), position

    async def get_own(self, user_id: str, call: Call) -> tuple[OwnProfile, Position]:
        """Returns the profile from the read model, once that has reached the caller's position.

        Raises:
            ProfileNotFound: there is no such user, or, for others, none with a verified address.
        """
        own = call.actor == user_id
        profile, position = await self._queries.find(user_id, call.position, unverified=own)
        if profile is not None:
            return profile, position
        created = await self._make_sure(user_id, call)
        profile, position = await self._queries.find(user_id, created, unverified=own)
        if profile is None:
            raise ProfileNotFound
        return profile, position

    async def _verified(self, user_id: str, call: Call) -> bool:
        registration = await self._queries.registration(user_id, call.position)
        if registration is None or not registration.has_profile:
            await self._make_sure(user_id, call)
            registration = await self._queries.registration(user_id, call.position)
        return registration is not None and registration.verified

    async def _make_sure(self, user_id: str, call: Call) -> Position:
        """Creates the profile of a new user before the reaction has, in the same way.

        Raises:
            ProfileNotFound: there is no such user, or, for others, none with a verified address.
        """
        registration = await self._queries.registration(user_id, call.position)
        if registration is None and call.actor == user_id:
            # The actor has registered, so the read model only has to catch up with that.
            end = Position.at(AUTH, await self._log.end_of(AUTH))
            registration = await self._queries.registration(user_id, end)
        if registration is None or not (registration.verified or call.actor == user_id):
            raise ProfileNotFound
        sequence = await self.create(user_id, _creation(registration), _caused_by(registration))
        return Position.at(PROFILE, sequence)


def _creation(registration: Registration) -> CreateProfile:
    return CreateProfile(username=registration.registered_username or "", display_name=registration.registered_name)


def _caused_by(registration: Registration) -> Provenance:
    return Provenance(causation_id=registration.registration_id)
