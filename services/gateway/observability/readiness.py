"""Readiness of the gateway: NATS, its stream followers, and the health check of each service."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from infra.rpc.health import said_serving
from infra.rpc.replicas import Replicas
from infra.rpc.tls import Tls
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed

log = logging.getLogger(__name__)
# Seconds for which a result is reused, so that probes cost the services next to nothing.
_FRESH = 0.5
# Seconds for which the state of the event store's space is reused.
_SPACE_FRESH = 2.0
# What `warnings` names.
OUT_OF_SPACE = "event store: out of space"
# Seconds for which a silent service keeps counting as ready: one slow second takes no gateway out of rotation.
_PATIENCE = 5.0
# Seconds between two checks for the metrics, whether or not a probe asks.
_EVERY = 5.0
# Seconds between two checks of the gateway's own parts at its start.
_OWN_EVERY = 0.05

Condition = Callable[[], bool]
# Fetches whether the event store refuses writes since it has no space left.
IsFull = Callable[[], Awaitable[bool]]


class Readiness:
    """Checks each service once for all concurrent probes."""

    def __init__(
        self,
        conditions: Mapping[str, Condition],
        services: Mapping[str, Replicas],
        *,
        is_full: IsFull,
        tls: Callable[[str], Tls | None] = lambda _: None,
    ) -> None:
        self._conditions = conditions
        self._services = services
        self._tls = {service: tls(service) for service in services}
        self._is_full = is_full
        self._space_asked_at = float("-inf")
        self._warnings: list[str] = []
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._silent: list[str] = []
        self._served_at = dict.fromkeys(services, float("-inf"))
        self._leaving = False

    def leave(self) -> None:
        """Makes the gateway not ready, since it is about to stop."""
        self._leaving = True

    async def missing(self) -> list[str]:
        """Names of the parts that are not ready; empty if all are."""
        async with self._asking:
            if time.monotonic() - self._asked_at > _FRESH:
                self._silent = await self._ask_services()
                self._asked_at = time.monotonic()
        return [*(["running"] if self._leaving else []), *self._own_missing(), *self._silent]

    async def became_ready(self, stop: asyncio.Event, *, patience: float) -> None:
        """Waits at most `patience` seconds until the gateway's own parts are ready; the services do not matter."""
        deadline = time.monotonic() + patience
        while self._own_missing() and not stop.is_set() and time.monotonic() < deadline:  # noqa: ASYNC110 - no events tell
            await asyncio.sleep(_OWN_EVERY)
        if missing := self._own_missing():
            log.warning("not ready: %s", ", ".join(missing))

    async def run(self) -> None:
        """Checks all parts every few seconds, so that the metrics are current without probes."""
        while True:
            await self.missing()
            await asyncio.sleep(_EVERY)

    def states(self) -> Mapping[str, Condition]:
        """Each part and whether it was ready when it was last checked."""

        def answered(service: str) -> bool:
            return service not in self._silent

        return {**self._conditions, **{service: partial(answered, service) for service in self._services}}

    async def warnings(self) -> list[str]:
        """Outages in spite of which this gateway is ready: it serves reads while nothing can be written."""
        async with self._asking:
            if time.monotonic() - self._space_asked_at > _SPACE_FRESH:
                try:
                    self._warnings = [OUT_OF_SPACE] if await self._is_full() else []
                except (RequestFailed, Refused):
                    self._warnings = []
                self._space_asked_at = time.monotonic()
        return self._warnings

    def _own_missing(self) -> list[str]:
        return [name for name, holds in self._conditions.items() if not holds()]

    async def _ask_services(self) -> list[str]:
        serves = await asyncio.gather(*map(self._one_serves, self._services))
        return [name for name, one_serves in zip(self._services, serves, strict=True) if not one_serves]

    async def _one_serves(self, service: str) -> bool:
        """Whether at least one replica of the service is ready."""
        replicas, tls = self._services[service], self._tls[service]
        serving = await asyncio.gather(*(said_serving(host, port, tls=tls) for host, port in replicas.present))
        if any(serving):
            self._served_at[service] = time.monotonic()
            return True
        return None in serving and time.monotonic() - self._served_at[service] < _PATIENCE
