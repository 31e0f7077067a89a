"""Kills replicas, PostgreSQL and NATS at random for a while under load; then the read models must be exact."""

import argparse
import logging
import random
import tempfile
from pathlib import Path

from tests.bench.report import Row, main
from tests.chaos import run_chaos


async def measure(arguments: argparse.Namespace) -> list[Row]:
    logging.disable()  # what is killed is missed by many, again and again
    with tempfile.TemporaryDirectory() as folder:
        chance = random.Random(arguments.seed or None)
        outcome = await run_chaos(Path(folder), arguments.seconds, chance)
    rows = [Row(f"{who} killed", number, "times") for who, number in outcome.kills.items()]
    rows += [
        Row("messages acknowledged", outcome.acknowledged, "messages"),
        Row("of them in the read model", outcome.found, "messages", "all"),
        Row("caught up after the last kill", outcome.caught_up, "s"),
    ]
    for verdict in outcome.verdicts:
        differ = verdict.changed + verdict.missing + verdict.extra
        rows.append(Row(f"{verdict.projection}: rows that differ", differ, "rows", "none"))
        rows.append(Row(f"{verdict.projection}: dead letters", verdict.dead_letters, "events", "none"))
    return rows


if __name__ == "__main__":
    main(measure, seconds=180, seed=0)
