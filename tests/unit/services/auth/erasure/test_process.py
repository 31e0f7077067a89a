"""The measure of how long erasures are overdue."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from contracts.envelope import Provenance
from contracts.errors import LegalHold, Unavailable
from contracts.values.ids import new_id
from services.auth.erasure.commands import Erasure, Erasures
from services.auth.erasure.decisions import Reason
from services.auth.erasure.process import ErasureProcess
from services.auth.erasure.queries import DueErasure
from services.auth.erasure.removal import Removal
from streams.personal_data.key_store import StoredKey

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Failing(Erasures):
    """Some are held; the others fail."""

    def __init__(self, held: str) -> None:
        self._held = held

    async def cancel_after_login(self, user_id: str) -> bool:
        return False

    async def erase(self, user_id: str, reason: Reason, provenance: Provenance) -> Erasure:
        raise LegalHold if user_id == self._held else Unavailable


class Timers:
    def __init__(self, *due: DueErasure) -> None:
        self.rows = list(due)

    async def due(self, now: datetime, complete: datetime, limit: int, *, after: DueErasure | None) -> list[DueErasure]:
        return self.rows


class Keys(Removal):
    """A store without keys."""

    def __init__(self) -> None:
        pass

    async def versions(self, key_id: str) -> list[StoredKey]:
        return []


def overdue() -> float | None:
    return REGISTRY.get_sample_value("vestnik_erasures_overdue_seconds")


async def test_the_oldest_erasure_that_is_not_done_is_measured_and_a_held_one_is_not() -> None:
    held, failing = (DueErasure(new_id(), AT - timedelta(hours=hours), erased=False) for hours in (3, 2))
    timers = Timers(held, failing)
    process = ErasureProcess(Failing(held.user_id), timers, Keys(), Keys(), clock=lambda: AT)
    for erasure in await process.due():
        if erasure is held:
            await process.act(erasure)
        else:
            with pytest.raises(Unavailable):
                await process.act(erasure)
    await process.due()
    assert overdue() == 7_200
    timers.rows = [held]
    await process.due()
    assert overdue() == 0
