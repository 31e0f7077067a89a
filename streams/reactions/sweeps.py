"""Acts of a service that become due with time, found in one of its read models: timers without storage of their own.

Each act is a command that is idempotent by its stream's condition. So every replica may sweep, what failed is done by
the next sweep, and a sweep that reads a read model that lags does nothing twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import DecodeError

from contracts.errors import VestnikError
from streams.repository import BrokenHistory

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Due = Callable[[], Awaitable[Sequence[Item]]]
Act = Callable[[Item], Awaitable[None]]


async def sweep(what: str, due: Due[Item], act: Act[Item], *, name_of: Callable[[Item], str], every: float) -> None:
    """Sweeps periodically until cancelled.

    `what`: the items, for the log. `name_of`: an item's name there, without the id of a user.
    """
    while True:
        await asyncio.sleep(every)
        try:
            await sweep_once(what, due, act, name_of=name_of)
        except VestnikError as error:
            log.warning("%s that are due cannot be read: %s", what, error)
        except Exception:  # a fault in the code must not stop the service
            log.exception("%s that are due cannot be read", what)


async def sweep_once(what: str, due: Due[Item], act: Act[Item], *, name_of: Callable[[Item], str]) -> None:
    """Acts on each item that is due now; one that fails is left for the next sweep.

    Raises:
        VestnikError: the items cannot be read.
    """
    for item in await due():
        try:
            await act(item)
        except (VestnikError, BrokenHistory, DecodeError, LookupError) as error:
            log.warning("%s: %s failed: %r", what, name_of(item), error)
        except Exception:  # a fault in the code must not stop the other items
            log.exception("%s: %s failed", what, name_of(item))
