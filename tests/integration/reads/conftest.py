"""Read models as clients see them: real streams, the projection, its service's server and the gateway."""

import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts.aggregate_types import AGGREGATE_TYPE_OF
from contracts.envelope import Provenance, encode, seal
from contracts.events.event import Event
from contracts.positions import Position
from projections.engine import Projection, ReadModel, Runners
from projections.engine.read_servers import read_servers
from projections.registry import find
from tests.fix_postgres import Pool
from tests.fix_read_models import aggregate_id_of, subject_of
from tests.integration.gateway.conftest import Harness, gateway_with
from tests.integration.projections.event_writer import until_ready


class ShownReadModel:
    """One read model behind the gateway; reads see every event that happened before them."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._reached: dict[str, int] = {}

    @property
    def user_id(self) -> str:
        """The user who reads."""
        return self._harness.user_id

    async def happened(self, *events: Event, at: str, of: str | None = None) -> None:
        """Appends the events, all at one time; `of`: the id of their aggregate, where it is not in their data."""
        for event in events:
            subject, moment = subject_of(event, of), datetime.fromisoformat(at)
            identifier = aggregate_id_of(event, subject)
            envelope = seal(event, aggregate_id=identifier, version=1, provenance=Provenance(), at=moment)
            stored = await self._harness.nats.jetstream().publish(subject, encode(envelope))
            self._reached[AGGREGATE_TYPE_OF[event.TYPE].stream] = stored.seq

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Returns the JSON of a successful read."""
        response = await self._harness.client.get(path, headers=self._headers())
        assert response.status_code == 200, response.text
        return response.json()

    async def pages(self, path: str, *, limit: int) -> list[list[Any]]:
        """Returns the items of all pages of a list."""
        pages, cursor = [], ""
        while True:
            page = await self.get(f"{path}?limit={limit}&cursor={cursor}")
            pages.append(page["items"])
            if page["next"] is None:
                return pages
            cursor = page["next"]

    async def refused(self, path: str, *, signed_in: bool = True) -> tuple[int, str]:
        """Returns the status and the code of a refusal."""
        response = await self._harness.client.get(path, headers=self._headers() if signed_in else {})
        return response.status_code, response.json()["code"]

    def _headers(self) -> dict[str, str]:
        position = {"vestnik-position": self._harness.sealed.seal(Position(self._reached))} if self._reached else {}
        return {**self._harness.signed_in, **position}


class ShowReadModel(Protocol):
    async def __call__(self, projection: type[Projection]) -> ShownReadModel: ...


@pytest_asyncio.fixture
async def shown(tmp_path: Path, streams: NATS, pool: Pool, database_url: str) -> AsyncIterator[ShowReadModel]:
    """Starts what shows a read model to clients; it stops with the test."""
    async with AsyncExitStack() as stack:

        async def start(projection: type[Projection]) -> ShownReadModel:
            runners = Runners([projection], streams, pool, database_url)
            await runners.start()
            stack.push_async_callback(runners.stop)
            await until_ready(runners)
            service = projection.run_by()
            package = importlib.import_module(f"services.{service}.reads")
            servers = read_servers(package, lambda name: ReadModel(find(name), pool, runners.waiting))
            harness = await stack.enter_async_context(gateway_with({service: servers}, tmp_path, streams, {}))
            return ShownReadModel(harness)

        yield start
