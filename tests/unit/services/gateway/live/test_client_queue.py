import asyncio
from collections.abc import Callable

from services.gateway.live.client_queue import (
    EPHEMERAL,
    MOST,
    MOST_BEFORE_EPHEMERAL,
    MOST_BYTES,
    ClientQueue,
    CloseReason,
    QueuedEvent,
)


def queue() -> ClientQueue:
    return ClientQueue("anna", "session", notified=False, expires_at=0.0)


def event(sequence: int, size: int = 2) -> QueuedEvent:
    return QueuedEvent("CONTACT", sequence, "t", b"x" * size)


def test_what_was_pushed_is_taken_in_order_and_once() -> None:
    found = queue()
    for sequence in (1, 2, 3):
        found.put(event(sequence))
    assert [each.sequence for each in found.drain()] == [1, 2, 3]
    assert found.drain() == []


def test_too_many_events_are_the_end_and_what_waited_is_kept() -> None:
    found = queue()
    for sequence in range(MOST + 5):
        found.put(event(sequence))
    assert found.end is CloseReason.SLOW
    assert [each.sequence for each in found.drain()] == list(range(MOST))
    found.put(event(MOST + 5))
    assert found.drain() == []


def test_too_many_bytes_are_the_end() -> None:
    found = queue()
    found.put(event(1, MOST_BYTES - 1))
    found.put(event(2))
    assert (found.end, len(found)) == (CloseReason.SLOW, 1)


def test_an_ephemeral_event_waits_for_a_client_that_keeps_up_and_closes_none() -> None:
    found = queue()
    assert not found.offer("typing", b"{}")
    found.attached = True
    assert found.offer("typing", b"{}")
    assert [(each.channel, each.type) for each in found.drain()] == [(EPHEMERAL, "typing")]
    for sequence in range(MOST_BEFORE_EPHEMERAL):
        found.put(event(sequence))
    assert not found.offer("typing", b"{}")
    assert (found.end, len(found)) == (None, MOST_BEFORE_EPHEMERAL)
    found.drain()
    found.put(event(1, MOST_BYTES - 1))
    assert not found.offer("typing", b"{}")
    assert found.end is None


def test_taking_makes_room() -> None:
    found = queue()
    for sequence in range(3 * MOST):
        found.put(event(sequence))
        if sequence % MOST == MOST - 1:
            found.drain()
    assert found.end is None


def test_the_first_reason_for_the_end_stands() -> None:
    found = queue()
    found.close(CloseReason.SESSION, "logout")
    found.close(CloseReason.DISCONNECTED)
    assert (found.end, found.reason) == (CloseReason.SESSION, "logout")


async def test_who_waits_is_woken_by_an_event_by_the_end_and_by_the_time() -> None:
    wakes: list[Callable[[ClientQueue], None]] = [
        lambda found: found.put(event(1)),
        lambda found: found.close(CloseReason.DISCONNECTED),
    ]
    for wake in wakes:
        found = queue()
        waiting = asyncio.create_task(found.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        wake(found)
        await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(queue().wait(0.0), 60)
