"""What clients get of the read model `mutual_friends`."""

from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.values.ids import new_id
from projections.mutual_friends import MutualFriends
from tests.integration.reads.conftest import ShowReadModel

PATH = "/v1/mutual-friends"
ANNA, BORIS, CLARA = [new_id() for _ in range(3)]


async def test_everybody_sees_how_many_friends_they_have_in_common_with_others(shown: ShowReadModel) -> None:
    model = await shown(MutualFriends)
    pairs = [(one, other) for one in (model.user_id, CLARA) for other in (ANNA, BORIS)]
    await model.happened(*(friends(*pair) for pair in pairs), at="2026-01-31T12:00:00Z")
    assert await model.get(f"{PATH}/{CLARA}") == {"user_id": CLARA, "friends": 2}
    await model.happened(friends(model.user_id, CLARA), at="2026-01-31T13:00:00Z")
    assert await model.pages(PATH, limit=2) == [
        [{"user_id": CLARA, "friends": 2}, {"user_id": max(ANNA, BORIS), "friends": 1}],
        [{"user_id": min(ANNA, BORIS), "friends": 1}],
    ]
    await model.happened(FriendshipRemoved(remover_id=model.user_id, other_id=ANNA), at="2026-01-31T14:00:00Z")
    assert await model.get(f"{PATH}/{CLARA}") == {"user_id": CLARA, "friends": 1}
    assert await model.refused(f"{PATH}/{new_id()}") == (404, "not_found")
    assert await model.refused(PATH, signed_in=False) == (401, "unauthenticated")


def friends(one: str, other: str) -> FriendshipAccepted:
    return FriendshipAccepted(requester_id=one, addressee_id=other)
