"""Concurrent work on several read models."""

import asyncio

import pytest

from infra.cli.parallel import AT_ONCE, Failed, run_each
from infra.operator_errors import OperatorError
from projections.engine.projection import Projection
from projections.registry import choose

PROJECTIONS = choose([])


async def test_results_keep_the_order_of_the_projections() -> None:
    async def work(projection: type[Projection]) -> str:
        await asyncio.sleep(0.01 if projection is PROJECTIONS[0] else 0)
        return projection.name

    assert await run_each(PROJECTIONS, work) == ([projection.name for projection in PROJECTIONS], [])


async def test_a_projection_that_fails_does_not_stop_the_others() -> None:
    first = PROJECTIONS[0]

    async def work(projection: type[Projection]) -> str:
        if projection is first:
            raise OperatorError("no")
        return projection.name

    done, failed = await run_each(PROJECTIONS, work)
    assert failed == [Failed(first.name, "no")]
    assert len(done) == len(PROJECTIONS) - 1


async def test_the_number_of_concurrent_projections_is_bounded() -> None:
    running, most = 0, 0

    async def work(projection: type[Projection]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await run_each(PROJECTIONS, work)
    assert most == AT_ONCE


async def test_a_fault_of_the_program_stops_the_others() -> None:
    started: list[str] = []
    stopped: list[str] = []

    async def work(projection: type[Projection]) -> None:
        if projection is PROJECTIONS[0]:
            raise ZeroDivisionError
        started.append(projection.name)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(projection.name)
            raise

    with pytest.raises(ExceptionGroup):
        await run_each(PROJECTIONS, work)
    assert started
    assert sorted(stopped) == sorted(started)
