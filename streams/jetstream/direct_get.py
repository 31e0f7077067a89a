"""Direct gets: reads that any replica of a stream may answer, each made again while there is no answer.

The servers choose a replica at random, also one that is frozen or cut off, until they have noticed that it is. What
such a replica is asked is lost, so another get is made beside the one that waits, and the first answer counts.
"""

import asyncio
from collections.abc import Callable

from streams.jetstream.raw_message import Delivered
from streams.jetstream.requests import Inbox, NoAnswer

# Seconds until a get is made again; then twice as long each time.
_FIRST_PAUSE = 0.5


async def get_directly(
    inbox: Inbox,
    stream: str,
    request: bytes,
    *,
    timeout: float,
    last: Callable[[Delivered], bool] = lambda message: True,
) -> list[Delivered]:
    """Makes a direct get, again while there is no answer; returns one replica's messages.

    `last`: whether a message is the last of the answer.

    Raises:
        RequestFailed: no replica answered within `timeout` seconds, or none can.
    """
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + timeout, _FIRST_PAUSE
    subject = f"$JS.API.DIRECT.GET.{stream}"
    gets: set[asyncio.Task[list[Delivered]]] = set()
    try:
        while True:
            left = max(deadline - loop.time(), 0.0)
            gets.add(loop.create_task(inbox.request_many(subject, request, timeout=left, last=last)))
            # The gets end by themselves when the time is over.
            seconds = pause if pause < left else None
            done, _ = await asyncio.wait(gets, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for get in done:
                gets.discard(get)
                try:
                    return get.result()
                except NoAnswer:
                    # Before the time is over: the connection was lost.
                    if loop.time() >= deadline:
                        raise
            pause *= 2
    finally:
        for get in gets:
            if not get.cancel() and not get.cancelled():
                get.exception()  # marks it as retrieved
