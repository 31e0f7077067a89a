"""One holder per key, in order of arrival, and nothing left behind."""

import asyncio

import pytest

from contracts.errors import Overloaded
from streams.keyed_locks import Locks


async def test_a_key_has_one_holder_and_others_wait_in_order() -> None:
    locks, order = Locks(), []

    async def hold(number: int) -> None:
        async with locks.hold("a"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*map(hold, range(5)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert len(locks) == 0


async def test_keys_do_not_wait_for_each_other() -> None:
    locks = Locks()
    async with locks.hold("a"), locks.hold("b"):
        assert len(locks) == 2
    assert len(locks) == 0


async def test_a_caller_that_gives_up_waiting_leaves_the_others_in_order() -> None:
    locks, entered = Locks(), asyncio.Event()

    async def hold() -> None:
        async with locks.hold("a"):
            entered.set()

    async with locks.hold("a"):
        first, second = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(0)
        first.cancel()
    await second
    assert entered.is_set()
    assert len(locks) == 0


async def test_waiting_is_bounded() -> None:
    locks = Locks(patience=0.01)
    async with locks.hold("a"):
        with pytest.raises(Overloaded):
            async with locks.hold("a"):
                raise AssertionError("two holders")
    assert len(locks) == 0


async def test_an_error_of_the_holder_frees_the_key() -> None:
    locks = Locks()
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("a"):
            raise ZeroDivisionError
    async with locks.hold("a"):
        assert len(locks) == 1


async def test_a_caller_between_two_holders_waits_no_longer_than_others() -> None:
    locks, done = Locks(patience=0.01), asyncio.Event()

    async def hold_for_long() -> None:
        async with locks.hold("a"):
            await done.wait()

    async with locks.hold("a"):
        next_holder = asyncio.create_task(hold_for_long())
        await asyncio.sleep(0)
    # Free, but promised: the next holder has not run yet.
    async with asyncio.timeout(60):
        with pytest.raises(Overloaded):
            async with locks.hold("a"):
                raise AssertionError("two holders")
    done.set()
    await next_holder
    assert len(locks) == 0
