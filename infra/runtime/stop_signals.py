"""The signals that stop a process of a service: SIGTERM, and SIGINT from a terminal."""

import asyncio
import logging
import signal

log = logging.getLogger(__name__)


def stop_at_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; the first of them is logged."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_because(number: signal.Signals) -> None:
        if not stop.is_set():
            log.info("the process stops: it got %s", number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_because, number)
    return stop
