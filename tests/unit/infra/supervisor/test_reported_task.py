"""Failures of tasks that nothing waits for."""

import asyncio

from infra.supervisor.reported_task import start_reported


async def test_a_failure_is_reported_and_a_normal_or_cancelled_end_is_not() -> None:
    reports: list[str] = []

    async def fail() -> None:
        raise ValueError("odd")

    tasks = [start_reported(work, "watch", reports.append) for work in (fail(), asyncio.sleep(0), asyncio.sleep(60))]
    await asyncio.wait(tasks[:2])
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert reports == ["the watch failed: ValueError('odd')"]
