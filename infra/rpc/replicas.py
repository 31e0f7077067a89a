"""The current addresses of a service's replicas: those that the settings list, and those that names have in DNS.

A name is looked up again every few seconds, and at once after a failed call; never by a call itself. A lookup that
fails or finds nothing changes nothing.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from contracts.errors import error_text
from infra.settings import Settings

Address = tuple[str, int]
LookUp = Callable[[str, int], Awaitable[Iterable[str]]]

log = logging.getLogger(__name__)

# Seconds from one lookup to the next: in general, and at least, whatever fails.
_INTERVAL, _SHORTEST_INTERVAL = 2.0, 0.25
# Lookups have threads of their own: a resolver that does not answer must not occupy those of other work.
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="dns")


async def look_up(host: str, port: int) -> list[str]:
    """All IPv4 and IPv6 addresses of the host.

    Raises:
        OSError: the name has none, or the resolver failed.
    """
    loop = asyncio.get_running_loop()
    answers = await loop.run_in_executor(
        _THREADS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    )
    return [str(answer[4][0]) for answer in answers]


class Replicas:
    """The addresses in `present`; after `start`, kept up to date until `close`."""

    def __init__(
        self, addresses: Sequence[Address], names: Sequence[Address] = (), *, look_up: LookUp = look_up
    ) -> None:
        """`addresses`: fixed ones. `names`: hosts in DNS, each with the port at which all of its addresses answer."""
        self._addresses = addresses
        self._resolved: dict[Address, list[Address]] = {name: [] for name in names}
        self._failing: set[Address] = set()
        self._look_up = look_up
        self._changed: Callable[[], None] = lambda: None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.present: tuple[Address, ...] = tuple(dict.fromkeys(addresses))

    @classmethod
    def of(cls, settings: Settings, service: str) -> Self:
        """
        Raises:
            BadSetting: an address is invalid.
        """
        return cls(settings.addresses_of(service), settings.names_of(service))

    def start(self, changed: Callable[[], None] = lambda: None) -> None:
        """Begins to look up the names, if there are any; `changed` is called after each change of `present`."""
        self._changed = changed
        if self._resolved:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    def look_up_again(self) -> None:
        """Requests a lookup as soon as possible: a replica has failed."""
        self._wanted.set()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def refresh(self) -> None:
        """Looks every name up once."""
        await asyncio.gather(*map(self._refresh_name, self._resolved))
        fixed = dict.fromkeys(self._addresses)
        present = tuple(
            fixed | dict.fromkeys(address for addresses in self._resolved.values() for address in addresses)
        )
        if present != self.present:
            self.present = present
            self._changed()

    async def _keep_looking(self) -> None:
        while True:
            self._wanted.clear()
            await self.refresh()
            await asyncio.sleep(_SHORTEST_INTERVAL)
            try:
                async with asyncio.timeout(_INTERVAL - _SHORTEST_INTERVAL):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _refresh_name(self, name: Address) -> None:
        host, port = name
        try:
            addresses = sorted({(address, port) for address in await self._look_up(host, port)})
        except (OSError, UnicodeError) as error:
            self._note_failure(name, error_text(error))
            return
        if not addresses:
            self._note_failure(name, "it has no address")
            return
        self._failing.discard(name)
        if addresses != self._resolved[name]:
            log.info("%s:%d has %d replicas: %s", host, port, len(addresses), ", ".join(ip for ip, _ in addresses))
            self._resolved[name] = addresses

    def _note_failure(self, name: Address, reason: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            log.warning("the lookup of %s failed, its %d replicas stay: %s", name[0], len(self._resolved[name]), reason)
