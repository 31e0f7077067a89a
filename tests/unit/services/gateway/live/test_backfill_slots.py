import asyncio

from services.gateway.live.backfill_slots import LARGE, SMALL, BackfillSlots
from services.gateway.live.client_queue import ClientQueue


def queue(user_id: str = "anna") -> ClientQueue:
    return ClientQueue(user_id, "session", notified=False, expires_at=0.0)


def test_a_few_clients_of_one_user_hold_a_page_concurrently_and_other_users_are_unaffected() -> None:
    slots = BackfillSlots(most_of_one=2)
    one, two, three = queue(), queue(), queue()
    assert [slots.take(client) for client in (one, two, three)] == [True, True, False]
    assert slots.take(queue("boris"))
    # A client that has a turn keeps it for the next page.
    assert slots.take(one)
    assert len(slots) == 3


async def test_a_client_that_waits_is_woken_when_a_turn_is_free() -> None:
    slots = BackfillSlots(most_of_one=1)
    one, two = queue(), queue()
    assert slots.take(one)
    assert not slots.take(two)
    waiting = asyncio.create_task(two.wait(3_600))
    await asyncio.sleep(0)
    slots.give_back(one)
    await asyncio.wait_for(waiting, 60)
    assert slots.take(two)
    assert not slots.take(one)


def test_turns_that_are_given_back_leave_nothing_behind() -> None:
    slots = BackfillSlots(most_of_one=1)
    one, two = queue(), queue()
    slots.take(one)
    slots.take(two)
    for client in (two, one, one, two):
        slots.give_back(client)
    assert not len(slots)
    assert not slots._held
    assert not slots._waiting


def test_pages_are_smaller_while_many_are_held() -> None:
    slots = BackfillSlots(many=2)
    for number in range(3):
        assert slots.page_bytes == LARGE
        slots.take(queue(str(number)))
    assert slots.page_bytes == SMALL
