"""The operator service reads the read models over few connections, and reports why it cannot."""

import asyncio

import pytest

from contracts.errors import ReadModelBehind
from contracts.values.ids import new_id
from infra.security.service_schemas import CachedSchemas
from projections.session_audit import SessionAudit
from services.operator.history.queries import HistoryQueries
from services.operator.read_models import ReadModels
from tests.conditions import until


async def test_dead_letters_of_a_read_model_that_was_never_built_cannot_be_known_yet(database_url: str) -> None:
    with pytest.raises(ReadModelBehind):
        await HistoryQueries(ReadModels(CachedSchemas(database_url))).letters_of(SessionAudit, new_id())


async def test_many_questions_at_once_share_four_connections(database_url: str) -> None:
    read_models, release = ReadModels(CachedSchemas(database_url), patience=120), asyncio.Event()
    open_now: set[int] = set()

    async def ask(number: int) -> None:
        async with read_models.database_of(SessionAudit) as conn:
            open_now.add(number)
            await conn.execute("SELECT 1")
            await release.wait()
            open_now.discard(number)

    asked = [asyncio.create_task(ask(number)) for number in range(10)]
    await until(lambda: len(open_now) >= 4)
    # As long as the others would take.
    async with ReadModels(CachedSchemas(database_url)).database_of(SessionAudit) as conn:
        await conn.execute("SELECT 1")
    assert len(open_now) == 4
    release.set()
    await asyncio.gather(*asked)
