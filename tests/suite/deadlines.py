"""Pytest plug-in that ends tests which wait forever: a run always comes to its end, and says which test waited where.

Setup, call and teardown of a test each have `WITHIN` seconds, or what `@pytest.mark.within(SECONDS)` says. After that a
signal makes the test fail in the main thread, with the stacks of all asyncio tasks and threads. A process that does not
heed even that, or that does not end after its last test, writes its stacks to stderr and exits; a run with several
workers counts its test as failed and goes on with another worker.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, FrameType

import pytest

# Seconds. The slowest tests need two minutes alone; the waits within tests are shorter.
WITHIN = 480.0
# The failure is raised again at this interval: an asyncio task or a bare `except` may have swallowed it.
AGAIN = 30.0
# From the first failure until the process is ended.
GRACE = 100.0
# From the end of the last test until the process has ended.
EXIT_WITHIN = 120.0

_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "within(seconds): how long setup, call and teardown may each take")
    # A test's output is captured at the level of file descriptors, so stderr is another file meanwhile.
    config.stash[_stderr] = os.dup(2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with _bounded(f"the setup of {item.nodeid}", item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with _bounded(item.nodeid, item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    with _bounded(f"the teardown of {item.nodeid}", item):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Bounds what follows: the interpreter waits for threads, which may wait forever.

    A worker's process lives until the controller ends it, which has a bound of its own.
    """
    if not hasattr(session.config, "workerinput"):
        faulthandler.dump_traceback_later(EXIT_WITHIN, exit=True, file=session.config.stash[_stderr])


def _bounded(what: str, item: pytest.Item) -> AbstractContextManager[None]:
    marker = item.get_closest_marker("within")
    within = WITHIN if marker is None else float(marker.args[0])
    return bounded(what, within=within, stderr=item.config.stash[_stderr])


@contextmanager
def bounded(what: str, *, within: float, stderr: int = 2) -> Iterator[None]:
    """Fails in the main thread once the block takes longer than `within` seconds.

    Raises:
        pytest.fail.Exception: with the stacks of all asyncio tasks and threads.
    """

    def overdue(_: int, frame: FrameType | None) -> None:
        pytest.fail(f"{what} did not end within {within:.0f} s.\n{stacks(frame)}")

    handler = signal.signal(signal.SIGALRM, overdue)
    timer = signal.setitimer(signal.ITIMER_REAL, within, AGAIN)
    faulthandler.dump_traceback_later(within + GRACE, exit=True, file=stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def stacks(main: FrameType | None) -> str:
    """The stacks of every asyncio task of the running loop and of every thread; `main`: the main thread's frame."""
    blocks = [f"task {task.get_name()}:\n{''.join(_awaited(task))}" for task in _tasks()]
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = main if thread is threading.main_thread() else frames.get(thread.ident or 0)
        blocks.append(f"thread {thread.name}:\n{''.join(traceback.format_stack(frame)) if frame else ''}")
    return "\n".join(blocks)


def _tasks() -> set[asyncio.Task[object]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()  # no loop runs


def _awaited(task: asyncio.Task[object]) -> Iterator[str]:
    """One line for each coroutine, outermost first: a suspended task's own stack has only the first of them."""
    awaited: object = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)) is not None:
        code: CodeType = frame.f_code
        yield f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_qualname}\n'
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
