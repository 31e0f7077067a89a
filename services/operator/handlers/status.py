"""The state of the system, and how many events each stream got. It shows nothing of a person, so it is no look."""

import asyncio
import time

import msgspec
from nats.aio.client import Client as NATS

from contracts.envelope import now
from contracts.rpc.vestnik.operator.v1 import Document, GetRatesRequest
from contracts.values.validation import validated
from infra.settings import Settings
from services.operator.handlers.documents import document
from services.operator.rates import History, Span
from services.operator.system_status import Status, collect_status

# Seconds for which a collected status is reused.
_STATUS_AGE = 0.9


class _Rates(msgspec.Struct, frozen=True):
    span: Span


class StatusHandlers:
    def __init__(self, nc: NATS, settings: Settings) -> None:
        self._nc = nc
        self._settings = settings
        self._rates = History(nc)
        self._collecting = asyncio.Lock()
        self._status: tuple[float, Status] | None = None

    async def status(self) -> Document:
        async with self._collecting:
            if self._status is None or time.monotonic() - self._status[0] > _STATUS_AGE:
                state = await collect_status(self._settings, self._nc)
                self._status = (time.monotonic(), state)
            return document(self._status[1])

    async def rates(self, message: GetRatesRequest) -> Document:
        span = validated(_Rates, {"span": message.span}).span
        return document(await self._rates.of(span, now()))
