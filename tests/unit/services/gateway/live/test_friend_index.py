import asyncio
from collections.abc import Collection

import pytest

from contracts.errors import Unavailable
from services.gateway.live.friend_index import FriendIndex


class Contact:
    """Contact's read model, which answers when the test releases it."""

    def __init__(self, *friends: str) -> None:
        self.friends = set(friends)
        self.asked: list[tuple[str, int]] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.fails = False

    async def load(self, user_id: str, contact: int) -> Collection[str]:
        self.asked.append((user_id, contact))
        friends = set(self.friends)
        await self.answers.wait()
        if self.fails:
            raise Unavailable
        return friends


async def test_friends_are_loaded_once_and_see_each_other() -> None:
    contact = Contact("boris", "carl")
    friend_index = FriendIndex(contact.load)
    one, other = await asyncio.gather(*(friend_index.acquire("anna", 7, lambda: 3) for _ in range(2)))
    assert one is other
    assert (one.friends, one.complete_since) == ({"boris", "carl"}, 3)
    assert contact.asked == [("anna", 7)]
    assert set(friend_index.friends_of("boris")) == {"anna"}
    assert set(friend_index.friends_of("dora")) == set()


async def test_changes_during_a_load_override_what_is_loaded() -> None:
    contact = Contact("boris", "carl")
    contact.answers.clear()
    friend_index = FriendIndex(contact.load)
    entering = asyncio.create_task(friend_index.acquire("anna", 0, lambda: 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    friend_index.changed("anna", "boris", False)
    friend_index.changed("dora", "anna", True)
    contact.answers.set()
    assert (await entering).friends == {"carl", "dora"}


async def test_later_changes_are_applied_also_while_no_client_is_connected() -> None:
    contact = Contact("boris")
    friend_index = FriendIndex(contact.load)
    friend_index.release("anna", await friend_index.acquire("anna", 0, lambda: 0))
    friend_index.changed("anna", "carl", True)
    friend_index.changed("boris", "anna", False)
    assert (await friend_index.acquire("anna", 0, lambda: 0)).friends == {"carl"}
    assert len(contact.asked) == 1
    assert (set(friend_index.friends_of("boris")), set(friend_index.friends_of("carl"))) == (set(), {"anna"})


async def test_the_friends_of_disconnected_users_are_bounded() -> None:
    contact = Contact("boris", "carl")
    friend_index = FriendIndex(contact.load, most_idle=6)
    for user_id in ("anna", "dora", "emil"):
        friend_index.release(user_id, await friend_index.acquire(user_id, 0, lambda: 0))
    # Three users with two friends each are one too many: the one who left first is evicted.
    assert set(friend_index.friends_of("boris")) == {"dora", "emil"}
    await friend_index.acquire("anna", 0, lambda: 0)
    assert len(contact.asked) == 4


async def test_friends_that_could_not_be_loaded_are_loaded_for_the_next_client() -> None:
    contact = Contact("boris")
    contact.fails = True
    friend_index = FriendIndex(contact.load)
    with pytest.raises(Unavailable):
        await friend_index.acquire("anna", 0, lambda: 0)
    contact.fails = False
    assert (await friend_index.acquire("anna", 0, lambda: 0)).friends == {"boris"}


async def test_a_client_that_leaves_while_friends_are_loaded_leaves_nothing_behind() -> None:
    contact = Contact("boris")
    contact.answers.clear()
    friend_index = FriendIndex(contact.load)
    entering = asyncio.create_task(friend_index.acquire("anna", 0, lambda: 0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    contact.answers.set()
    assert set(friend_index.friends_of("boris")) == set()
    assert (await friend_index.acquire("anna", 0, lambda: 0)).clients == 1
