import asyncio

from services.gateway.live.backfill_slots import LARGE, SMALL, CatchUps
from services.gateway.live.client_queue import ClientQueue


def outlet(user_id: str = "anna") -> ClientQueue:
    return ClientQueue(user_id, "session", notified=False, expires_at=0.0)


def test_a_few_clients_of_one_user_hold_a_page_at_once_and_others_are_not_concerned() -> None:
    catch_ups = CatchUps(most_of_one=2)
    one, two, three = outlet(), outlet(), outlet()
    assert [catch_ups.take(each) for each in (one, two, three)] == [True, True, False]
    assert catch_ups.take(outlet("boris"))
    # Who has a turn keeps it for the next page.
    assert catch_ups.take(one)
    assert len(catch_ups) == 3


async def test_a_client_that_waits_is_woken_when_a_turn_is_free() -> None:
    catch_ups = CatchUps(most_of_one=1)
    one, two = outlet(), outlet()
    assert catch_ups.take(one)
    assert not catch_ups.take(two)
    waiting = asyncio.create_task(two.wait(3_600))
    await asyncio.sleep(0)
    catch_ups.give_back(one)
    await asyncio.wait_for(waiting, 60)
    assert catch_ups.take(two)
    assert not catch_ups.take(one)


def test_what_is_given_back_leaves_nothing_behind() -> None:
    catch_ups = CatchUps(most_of_one=1)
    one, two = outlet(), outlet()
    catch_ups.take(one)
    catch_ups.take(two)
    for each in (two, one, one, two):
        catch_ups.give_back(each)
    assert not len(catch_ups)
    assert not catch_ups._held
    assert not catch_ups._waiting


def test_pages_are_smaller_while_many_are_held() -> None:
    catch_ups = CatchUps(many=2)
    for number in range(3):
        assert catch_ups.page_bytes == LARGE
        catch_ups.take(outlet(str(number)))
    assert catch_ups.page_bytes == SMALL
