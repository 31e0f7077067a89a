"""How a process opens the event store while the store recovers."""

import asyncio

import pytest

from contracts.errors import Unavailable
from infra.runtime import event_store, import_marker
from infra.runtime.event_store import open_event_store
from infra.settings import Settings
from streams.jetstream.api import JetStream


class _Nats:
    async def close(self) -> None:
        pass


class _Store:
    """An event store that does not answer until the streams are ensured, and then has an import in progress."""

    def __init__(self) -> None:
        self.answers = False
        self.is_importing = True
        self.looked = asyncio.Event()

    async def connect(self, *_: object, **__: object) -> _Nats:
        return _Nats()

    async def ensure(self, *_: object, **__: object) -> None:
        self.answers = True

    async def marker(self, _: JetStream) -> str | None:
        if not self.answers:
            raise Unavailable
        self.looked.set()
        return "import" if self.is_importing else None


async def test_an_import_that_is_seen_once_the_store_answers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store = _Store()
    monkeypatch.setattr(event_store, "connect_nats", store.connect)
    monkeypatch.setattr(event_store, "ensure_streams", store.ensure)
    monkeypatch.setattr(import_marker, "get_import_marker", store.marker)
    monkeypatch.setattr(import_marker, "EVERY", 0.01)
    opening = asyncio.create_task(open_event_store(Settings(stream_replicas=1), "auth", asyncio.Event()))
    async with asyncio.timeout(30):
        await store.looked.wait()
        assert not opening.done()
        store.is_importing = False
        await opening
