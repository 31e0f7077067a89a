"""Repeats cancellations that a library has lost.

`asyncio.wait_for` of Python 3.11, which nats-py uses, drops a cancellation that arrives together with a result, and a
query that is cancelled may end with an error of the database instead. A loop that goes on after either never stops.
"""

import asyncio


def stop_if_cancelled() -> None:
    """Returns if the current task was not cancelled.

    Raises:
        asyncio.CancelledError: it was cancelled, and still runs.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
