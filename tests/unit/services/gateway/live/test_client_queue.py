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


def test_queued_events_are_drained_in_order_and_once() -> None:
    client_queue = queue()
    for sequence in (1, 2, 3):
        client_queue.put(event(sequence))
    assert [queued.sequence for queued in client_queue.drain()] == [1, 2, 3]
    assert client_queue.drain() == []


def test_too_many_events_close_the_queue_and_those_before_are_kept() -> None:
    client_queue = queue()
    for sequence in range(MOST + 5):
        client_queue.put(event(sequence))
    assert client_queue.end is CloseReason.SLOW
    assert [queued.sequence for queued in client_queue.drain()] == list(range(MOST))
    client_queue.put(event(MOST + 5))
    assert client_queue.drain() == []


def test_too_many_bytes_close_the_queue() -> None:
    client_queue = queue()
    client_queue.put(event(1, MOST_BYTES - 1))
    client_queue.put(event(2))
    assert (client_queue.end, len(client_queue)) == (CloseReason.SLOW, 1)


def test_an_ephemeral_event_waits_for_a_client_that_keeps_up_and_closes_none() -> None:
    client_queue = queue()
    assert not client_queue.offer("typing", b"{}")
    client_queue.attached = True
    assert client_queue.offer("typing", b"{}")
    assert [(queued.channel, queued.type) for queued in client_queue.drain()] == [(EPHEMERAL, "typing")]
    for sequence in range(MOST_BEFORE_EPHEMERAL):
        client_queue.put(event(sequence))
    assert not client_queue.offer("typing", b"{}")
    assert (client_queue.end, len(client_queue)) == (None, MOST_BEFORE_EPHEMERAL)
    client_queue.drain()
    client_queue.put(event(1, MOST_BYTES - 1))
    assert not client_queue.offer("typing", b"{}")
    assert client_queue.end is None


def test_draining_makes_room() -> None:
    client_queue = queue()
    for sequence in range(3 * MOST):
        client_queue.put(event(sequence))
        if sequence % MOST == MOST - 1:
            client_queue.drain()
    assert client_queue.end is None


def test_the_first_reason_of_a_close_is_kept() -> None:
    client_queue = queue()
    client_queue.close(CloseReason.SESSION, "logout")
    client_queue.close(CloseReason.DISCONNECTED)
    assert (client_queue.end, client_queue.reason) == (CloseReason.SESSION, "logout")


async def test_a_waiting_client_is_woken_by_an_event_by_a_close_and_by_the_time_out() -> None:
    wakes: list[Callable[[ClientQueue], None]] = [
        lambda client: client.put(event(1)),
        lambda client: client.close(CloseReason.DISCONNECTED),
    ]
    for wake in wakes:
        client_queue = queue()
        waiting = asyncio.create_task(client_queue.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        wake(client_queue)
        await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(queue().wait(0.0), 60)
