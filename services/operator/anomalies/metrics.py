"""Gauge of recent anomalies by rule, for alerts."""

import asyncio
import logging
from datetime import timedelta

from prometheus_client import Gauge

from contracts.envelope import now
from contracts.errors import ReadModelBehind, Unavailable
from infra.operator_errors import OperatorError
from services.operator.anomalies.queries import AnomalyQueries

log = logging.getLogger(__name__)
ANOMALIES = Gauge("vestnik_anomalies", "Anomalies whose last event is at most an hour old.", ("rule",))
_RECENT = timedelta(hours=1)
# Seconds.
_INTERVAL = 30.0


async def watch_anomalies(queries: AnomalyQueries) -> None:
    """Never returns. While the anomalies cannot be read, the gauge has no values."""
    while True:
        try:
            counts = await queries.counts(now() - _RECENT)
        except (ReadModelBehind, Unavailable, OperatorError) as error:
            log.debug("anomalies cannot be counted: %s", error)
            ANOMALIES.clear()
        else:
            for rule, count in counts.items():
                ANOMALIES.labels(rule).set(count)
        await asyncio.sleep(_INTERVAL)
