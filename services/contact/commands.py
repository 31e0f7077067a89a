"""Load, decide, append: friendships asked for, accepted and ended."""

from contracts.errors import SelfFriendship, UserNotFound
from contracts.identifiers import pair_id
from contracts.subjects import friendship
from infra.rpc.context import Call
from services.contact.clients import People
from services.contact.domain import Friendship, Relation, Status, decide_add, decide_remove, evolve, relation
from streams.log import Log
from streams.repository import Repository


def friendship_repository(log: Log) -> Repository[Friendship]:
    return Repository(log, subject=friendship, initial=Friendship(), evolve=evolve, tail_only=True)


class ContactCommands:
    def __init__(self, repository: Repository[Friendship], people: People) -> None:
        self._repository = repository
        self._people = people

    async def add(self, user_id: str, friend_id: str, call: Call) -> tuple[Relation, bool, int]:
        """Asks for a friendship, or accepts the one asked for.

        Returns how the user now sees it, whether this call made the request, and the sequence in CONTACT.

        Raises:
            SelfFriendship: both are the same person.
            UserNotFound: one of them has never registered.
        """
        if user_id == friend_id:
            raise SelfFriendship
        for person in (user_id, friend_id):
            if not await self._people.known(person):
                raise UserNotFound
        outcome = await self._repository.execute(
            pair_id(user_id, friend_id),
            lambda state: decide_add(state, user_id, friend_id),
            call.provenance(),
        )
        seen = relation(outcome.state, user_id)
        return seen, bool(outcome.events) and seen is Relation.OUTGOING, outcome.sequence

    async def remove(self, user_id: str, friend_id: str, call: Call) -> int:
        """Ends, declines or withdraws; the sequence in CONTACT, 0 where the two never had to do with each other."""
        outcome = await self._repository.execute(
            pair_id(user_id, friend_id),
            lambda state: decide_remove(state, user_id, friend_id),
            call.provenance(),
        )
        return outcome.sequence

    async def is_friend(self, user_id: str, friend_id: str) -> tuple[bool, int]:
        """Whether the two are friends, confirmed against the stream now, and the sequence of the last event.

        Raises:
            UserNotFound: one of them has never registered.
        """
        loaded = await self._repository.load(pair_id(user_id, friend_id))
        if loaded.state.status is Status.NONE:
            # Where anything ever happened between the two, both exist.
            for person in (user_id, friend_id):
                if not await self._people.known(person):
                    raise UserNotFound
        return loaded.state.status is Status.ACCEPTED, loaded.sequence
