"""Which users hide is looked up once, and an event that arrives during the look-up is newer than its answer."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from contracts.errors import Unavailable
from services.gateway.presence.hidden_users import HiddenUsers


class Profiles:
    def __init__(self, hidden: set[str]) -> None:
        self.hidden = hidden
        self.asked: list[list[str]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def find(self, user_ids: Sequence[str], followed: int) -> Collection[str]:
        assert followed == 7
        self.asked.append(list(user_ids))
        hidden = self.hidden & set(user_ids)
        await self.answers.wait()
        return hidden

    def users(self) -> HiddenUsers:
        return HiddenUsers(self.find, lambda: 7)


async def test_each_user_is_looked_up_once() -> None:
    profiles = Profiles({"a"})
    users = profiles.users()
    assert users.known("a") is None
    assert await users.among(["a", "b"]) == {"a"}
    assert await users.among(["b", "a", "c"]) == {"a"}
    assert profiles.asked == [["a", "b"], ["c"]]
    assert [users.known(user) for user in "abc"] == [True, False, False]


async def test_many_users_are_looked_up_in_several_requests() -> None:
    profiles = Profiles({"u7"})
    assert await profiles.users().among([f"u{number}" for number in range(1_001)]) == {"u7"}
    assert [len(requested) for requested in profiles.asked] == [500, 500, 1]


async def test_a_change_counts_immediately_and_during_a_look_up() -> None:
    profiles = Profiles({"a"})
    users = profiles.users()
    profiles.answers.clear()
    lookups = [asyncio.create_task(users.among(["a", "b"])) for _ in range(2)]
    await asyncio.sleep(0)
    users.changed("a", False)
    users.changed("b", True)
    profiles.answers.set()
    assert await asyncio.gather(*lookups) == [{"b"}, {"b"}]
    users.changed("b", False)
    assert await users.among(["a", "b"]) == set()


async def test_of_a_user_who_was_not_looked_up_only_hiding_is_cached() -> None:
    users = Profiles(set()).users()
    users.changed("a", True)
    users.changed("b", False)
    assert [users.known(user) for user in "ab"] == [True, None]


async def test_a_failed_look_up_is_an_error_and_not_cached() -> None:
    async def fail(user_ids: Sequence[str], followed: int) -> Collection[str]:
        raise Unavailable

    users = HiddenUsers(fail, lambda: 7)
    with pytest.raises(Unavailable):
        await users.among(["a"])
    assert users.known("a") is None
