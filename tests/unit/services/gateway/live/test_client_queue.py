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
    client_queue = queue()
    for sequence in (1, 2, 3):
        client_queue.put(event(sequence))
    assert [each.sequence for each in client_queue.drain()] == [1, 2, 3]
    assert client_queue.drain() == []


def test_too_many_events_are_the_end_and_what_waited_is_kept() -> None:
    client_queue = queue()
    for sequence in range(MOST + 5):
        client_queue.put(event(sequence))
    assert client_queue.end is CloseReason.SLOW
    assert [each.sequence for each in client_queue.drain()] == list(range(MOST))
    client_queue.put(event(MOST + 5))
    assert client_queue.drain() == []


def test_too_many_bytes_are_the_end() -> None:
    client_queue = queue()
    client_queue.put(event(1, MOST_BYTES - 1))
    client_queue.put(event(2))
    assert (client_queue.end, len(client_queue)) == (CloseReason.SLOW, 1)


def test_an_ephemeral_event_waits_for_a_client_that_keeps_up_and_closes_none() -> None:
    client_queue = queue()
    assert not client_queue.offer("typing", b"{}")
    client_queue.attached = True
    assert client_queue.offer("typing", b"{}")
    assert [(each.channel, each.type) for each in client_queue.drain()] == [(EPHEMERAL, "typing")]
    for sequence in range(MOST_BEFORE_EPHEMERAL):
        client_queue.put(event(sequence))
    assert not client_queue.offer("typing", b"{}")
    assert (client_queue.end, len(client_queue)) == (None, MOST_BEFORE_EPHEMERAL)
    client_queue.drain()
    client_queue.put(event(1, MOST_BYTES - 1))
    assert not client_queue.offer("typing", b"{}")
    assert client_queue.end is None


def test_taking_makes_room() -> None:
    client_queue = queue()
    for sequence in range(3 * MOST):
        client_queue.put(event(sequence))
        if sequence % MOST == MOST - 1:
            client_queue.drain()
    assert client_queue.end is None


def test_the_first_reason_for_the_end_stands() -> None:
    client_queue = queue()
    client_queue.close(CloseReason.SESSION, "logout")
    client_queue.close(CloseReason.DISCONNECTED)
    assert (client_queue.end, client_queue.reason) == (CloseReason.SESSION, "logout")


async def test_who_waits_is_woken_by_an_event_by_the_end_and_by_the_time() -> None:
    wakes: list[Callable[[ClientQueue], None]] = [
        lambda found: found.put(event(1)),
        lambda found: found.close(CloseReason.DISCONNECTED),
    ]
    for wake in wakes:
        client_queue = queue()
        waiting = asyncio.create_task(client_queue.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        wake(client_queue)
        await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(queue().wait(0.0), 60)
