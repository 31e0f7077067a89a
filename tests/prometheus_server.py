"""A real Prometheus that scrapes a running system every two seconds, with the alerting rules of the deployment."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from infra.embedded.ports import free_port
from tests.fix_system import ROOT

ALERTS = ROOT / "infra" / "deployment" / "alerts.yml"
DASHBOARDS = ROOT / "infra" / "deployment" / "dashboards"
# Seconds. A busy machine is slow to start it, and to answer every scrape in time.
_START_WITHIN = 60.0
_SCRAPED_WITHIN = 180.0
Json = dict[str, Any]

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on this machine")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")


class Series(msgspec.Struct, frozen=True):
    """One result of a query."""

    labels: dict[str, str]
    # Seconds since the epoch, and the value.
    points: list[tuple[float, float]]


class PrometheusServer:
    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def query_range(self, expr: str, *, start: float, end: float, step: float = 1.0) -> list[Series]:
        """The expression at every step of the range, as a panel of a dashboard shows it."""
        data = await self._get("query_range", query=expr, start=start, end=end, step=step)
        return [
            Series(series["metric"], [(at, float(value)) for at, value in series["values"]])
            for series in data["result"]
        ]

    async def rules(self) -> list[Json]:
        """The alerting rules, with the error of their last evaluation, once each was evaluated."""
        deadline = time.monotonic() + _SCRAPED_WITHIN
        while True:
            rules = [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]
            if all(rule["health"] != "unknown" for rule in rules):
                return rules
            assert time.monotonic() < deadline, "rules that were not evaluated"
            await asyncio.sleep(0.2)

    async def scraped(self) -> None:
        """Waits until every target has been scraped successfully after this call."""
        called_at, deadline = time.time(), time.monotonic() + _SCRAPED_WITHIN
        while True:
            # When each was last scraped; 0 for a scrape that failed. A later failure does not matter.
            targets = await self.query_range(
                "max_over_time((timestamp(up) * up)[5m:1s])", start=time.time(), end=time.time()
            )
            not_scraped = [target.labels for target in targets if target.points[-1][1] <= called_at]
            if targets and not not_scraped:
                return
            assert time.monotonic() < deadline, f"not scraped: {not_scraped}"
            await asyncio.sleep(0.2)

    async def _get(self, path: str, **parameters: str | float) -> Json:
        response = await self._http.get(f"/api/v1/{path}", params=parameters)
        answer = response.json()
        assert answer["status"] == "success", f"{parameters}: {answer}"
        data: Json = answer["data"]
        return data


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> AsyncIterator[PrometheusServer]:
    """Runs Prometheus with its data in the folder; `targets`: the URLs of the metrics by service."""
    listed = [
        {"targets": [url.removeprefix("http://").removesuffix("/metrics")], "labels": {"service": service}}
        for service, urls in targets.items()
        for url in urls
    ]
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "vestnik", "static_configs": listed}],
    }
    file = folder / "prometheus.yml"
    # JSON is YAML.
    file.write_text(json.dumps(config), encoding="utf-8")
    port = free_port()
    log = folder / "prometheus.log"
    process = _start(file, folder / "prometheus", port, log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            await _ready(http, process, log)
            yield PrometheusServer(f"http://127.0.0.1:{port}", http)
    finally:
        process.terminate()
        process.wait(_START_WITHIN)


def _start(config: Path, data: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    command = (
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


async def _ready(http: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            if (await http.get("/-/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        await asyncio.sleep(0.1)
