from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.values.ids import new_id
from projections.mutual_friends import MutualFriends
from tests.fix_read_models import OpenReadModel

ANNA, BORIS, CLARA, DAVID = sorted(new_id() for _ in range(4))


async def test_the_friends_that_two_people_have_in_common_are_counted(read_model: OpenReadModel) -> None:
    model = await read_model(MutualFriends)
    await model.given(friends(ANNA, BORIS), friends(CLARA, BORIS), friends(ANNA, DAVID), friends(DAVID, CLARA))
    query = "SELECT other_id, friends FROM {mutual_friends} WHERE user_id = " + f"'{ANNA}' AND friends > 0"
    assert await model.rows(query) == [(CLARA, 2)]
    await model.when(FriendshipRemoved(remover_id=DAVID, other_id=ANNA), friends(ANNA, CLARA))
    assert sorted(await model.rows(query)) == [(BORIS, 1), (CLARA, 1), (DAVID, 1)]


def friends(one: str, other: str) -> FriendshipAccepted:
    return FriendshipAccepted(requester_id=one, addressee_id=other)
