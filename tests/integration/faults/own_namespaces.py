"""Runs a test in network and mount namespaces of its own, which end with it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.faults.missing import missing
from tests.rehearsal import enter_host


def in_own_namespaces(act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the test in a thread, since namespaces belong to a thread; skips if none can be made."""
    if lacking := missing():
        pytest.skip(f"this machine lacks {', '.join(lacking)}")
    failures: list[BaseException] = []

    def thread() -> None:
        try:
            enter_host.new_network()
            enter_host.new_mounts()
            asyncio.run(act())
        except BaseException as error:
            failures.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    if failures:
        raise failures[0]
