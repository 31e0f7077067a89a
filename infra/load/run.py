"""Wires a load and runs it; handles both stages of Ctrl-C, and returns the report."""

import asyncio
import contextlib
import signal
from pathlib import Path

import msgspec
from rich.console import Console

from infra.load.accounts import People
from infra.load.errors import LoadError
from infra.load.gateway_client import Gateway
from infra.load.history_file import History
from infra.load.identities import Namespace
from infra.load.journal import Journal
from infra.load.mail_folder import Mailbox
from infra.load.progress import show
from infra.load.replay import Replay
from infra.load.report import Report

# Seconds for requests under way to finish after Ctrl-C.
_FINISH_WITHIN = 10.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The history to load, the target, and the options."""

    history: History
    url: str
    state: Path
    mail_dir: Path
    in_flight: int


async def load(order: Order, console: Console) -> Report:
    """Runs the load until it ends or Ctrl-C; prints examples of errors to the console.

    Raises:
        LoadError: the load could not start or continue.
    """
    gateway = Gateway(order.url)
    try:
        await gateway.check()
        with contextlib.closing(Journal(order.state, digest=order.history.digest, url=order.url)) as journal:
            return await _load(order, gateway, journal, console)
    finally:
        gateway.close()


async def _load(order: Order, gateway: Gateway, journal: Journal, console: Console) -> Report:
    namespace = Namespace(order.history.digest)
    people = People(gateway, Mailbox(order.mail_dir), journal, namespace)
    if not await people.recognised():
        console.print("The accounts of the state file do not exist in this system: starting from the beginning.")
        journal.start_over()
    replay = Replay(order.history, namespace, people, journal, in_flight=order.in_flight)
    showing = asyncio.create_task(show(order.history, replay.tally, journal, console))
    try:
        await _until_stopped(replay, console)
    finally:
        showing.cancel()
        await asyncio.wait([showing])
    for example in replay.tally.examples:
        console.print(example, style="red", markup=False)
    return replay.tally.report(in_flight=order.in_flight, retries=gateway.repeated, stopped=replay.stopped)


async def _until_stopped(replay: Replay, console: Console) -> None:
    """Runs the replay. The first Ctrl-C lets requests under way finish; a second one, or a timeout, cancels them."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(replay.run())

    def stop() -> None:
        if replay.stopped:
            running.cancel()
            return
        console.print("Stopping; the same command resumes from here.")
        replay.stop()
        loop.call_later(_FINISH_WITHIN, running.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.wait([running])
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        if not replay.stopped:
            raise
    except BaseExceptionGroup as errors:
        if (load_errors := errors.subgroup(LoadError)) is None:
            raise
        raise _first(load_errors) from None


def _first(errors: BaseExceptionGroup[LoadError]) -> LoadError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LoadError)
    return error
