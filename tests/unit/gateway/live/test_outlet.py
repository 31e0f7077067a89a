import asyncio
from collections.abc import Callable

from services.gateway.live.outlet import MOST, MOST_BYTES, End, Outlet, Waiting


def outlet() -> Outlet:
    return Outlet("anna", "session", notified=False, expires_at=0.0)


def event(sequence: int, size: int = 2) -> Waiting:
    return Waiting("CONTACT", sequence, "t", b"x" * size)


def test_what_was_pushed_is_taken_in_order_and_once() -> None:
    found = outlet()
    for sequence in (1, 2, 3):
        found.push(event(sequence))
    assert [each.sequence for each in found.take()] == [1, 2, 3]
    assert found.take() == []


def test_too_many_events_are_the_end_and_what_waited_is_kept() -> None:
    found = outlet()
    for sequence in range(MOST + 5):
        found.push(event(sequence))
    assert found.end is End.SLOW
    assert [each.sequence for each in found.take()] == list(range(MOST))
    found.push(event(MOST + 5))
    assert found.take() == []


def test_too_many_bytes_are_the_end() -> None:
    found = outlet()
    found.push(event(1, MOST_BYTES - 1))
    found.push(event(2))
    assert (found.end, len(found)) == (End.SLOW, 1)


def test_taking_makes_room() -> None:
    found = outlet()
    for sequence in range(3 * MOST):
        found.push(event(sequence))
        if sequence % MOST == MOST - 1:
            found.take()
    assert found.end is None


def test_the_first_reason_for_the_end_stands() -> None:
    found = outlet()
    found.finish(End.SESSION, "logout")
    found.finish(End.GONE)
    assert (found.end, found.reason) == (End.SESSION, "logout")


async def test_who_waits_is_woken_by_an_event_by_the_end_and_by_the_time() -> None:
    wakes: list[Callable[[Outlet], None]] = [lambda found: found.push(event(1)), lambda found: found.finish(End.GONE)]
    for wake in wakes:
        found = outlet()
        waiting = asyncio.create_task(found.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        wake(found)
        await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(outlet().wait(0.0), 60)
