"""Whatever is killed at whatever moment, every event has its effect once; `./just bench chaos` does so for minutes."""

import random
from pathlib import Path

from tests.chaos import NAMES, run_chaos


async def test_replicas_and_servers_killed_at_random_leave_exact_read_models(tmp_path: Path) -> None:
    outcome = await run_chaos(tmp_path, 4.0, random.Random())
    assert sum(outcome.kills.values()) > 0
    assert outcome.found == outcome.acknowledged > 0
    assert {verdict.projection: (verdict.equal, verdict.dead_letters) for verdict in outcome.verdicts} == dict.fromkeys(
        NAMES, (True, 0)
    )
