"""A process that a signal stops says which one it was."""

import asyncio
import logging
import os
import signal

import pytest

from infra.runtime.stop_signals import stop_at_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_stops_the_process_and_is_logged(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.INFO):
        stop = stop_at_signals()
        try:
            for _ in range(2):
                os.kill(os.getpid(), number)
                async with asyncio.timeout(10):
                    await stop.wait()
                    await asyncio.sleep(0)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
    assert caplog.messages == [f"the process stops: it got {number.name}"]
