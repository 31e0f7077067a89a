"""Gauge of recent anomalies by rule, for alerts."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from prometheus_client import Gauge

from contracts.envelope import now
from contracts.errors import ReadModelBehind, Unavailable
from infra.operator_errors import OperatorError
from services.operator.anomalies.queries import AnomalyQueries

log = logging.getLogger(__name__)
ANOMALIES = Gauge("vestnik_anomalies", "Anomalies whose last event is at most an hour old.", ("rule",))
_RECENT = timedelta(hours=1)
# Seconds between two counts, and between two checks whether the read model has been built.
_INTERVAL = 30.0
_UNTIL_READY = 0.5


async def watch_anomalies(queries: AnomalyQueries, ready: Callable[[], bool]) -> None:
    """Never returns. While the anomalies cannot be read, the gauge has no values.

    `ready`: whether the read model has been built.
    """
    while True:
        if ready():
            await _count(queries)
            await asyncio.sleep(_INTERVAL)
        else:
            await asyncio.sleep(_UNTIL_READY)


async def _count(queries: AnomalyQueries) -> None:
    try:
        counts = await queries.counts(now() - _RECENT)
    except (ReadModelBehind, Unavailable, OperatorError) as error:
        log.debug("anomalies cannot be counted: %s", error)
        ANOMALIES.clear()
        return
    for rule, count in counts.items():
        ANOMALIES.labels(rule).set(count)
