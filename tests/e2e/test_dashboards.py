"""Every panel of the dashboards is answered by a Prometheus that scrapes a running system; so is every alert."""

import asyncio
import json
import math
import time
from pathlib import Path

from infra.devtools.dashboards.catalogue import DASHBOARDS
from infra.runtime.run_file import find
from tests.e2e.documented_commands import blocks, typed
from tests.e2e.people import PASSWORD, Api
from tests.fix_system import ROOT, System, one_replica
from tests.prometheus_server import needs_prometheus, prometheus
from tests.sse_client import listening

# Panels without series while all is well, or because tests run without rate limits and TLS.
QUIET = {
    "Server errors",
    "Exhausted rate limits",
    "Failed appends",
    "Reads that waited without success",
    "Restarts of runners",
    "Progress of builds",
    "Limits on guesses",
    "Time until certificates expire",
    # Minutes pass before the first clock is compared.
    "Clocks of callers",
}
# Panels that depend on how many requests arrive at the same moment.
SELDOM = {"Reads that waited, p99", "Events in a batch", "Batches", "Share of events in batches"}


async def use_everything(api: Api) -> None:
    """Traffic that moves every metric of a healthy system."""
    first, second = await api.friends()
    async with listening(api.system.url, second.access_token) as live:
        await asyncio.gather(*(first.write(second, f"hello {number}") for number in range(40)))
        await live.until(lambda stream: sum(event.type.startswith("message") for event in stream.events) >= 40)
    assert (await api.log_in(first.email, "not the password")).status_code == 401
    assert (await first.get("/v1/conversations")).status_code == 200
    await second.messages(first)
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert (await second.ask("PUT", "/v1/users/me/password", json=body)).status_code == 204
    refreshed = await api.http.post("/v1/sessions/refresh", json={"refresh_token": first.refresh_token})
    assert refreshed.status_code == 200
    assert (await api.http.get(f"/v1/profiles/{second.user_id}")).status_code == 200


@one_replica
def test_the_how_to_makes_the_list_of_targets(system: System) -> None:
    command = blocks(ROOT / "docs" / "howto" / "see-inside.md")[0]
    # A service that is slow to answer makes `vestnik status` end with 1, and is in the list all the same.
    targets = json.loads(typed(system, f"set +o pipefail\n{command}"))
    listed = {
        entry["labels"]["service"]: [f"http://{target}/metrics"] for entry in targets for target in entry["targets"]
    }
    assert listed == find(system.data_dir).metrics


@one_replica
@needs_prometheus
async def test_every_panel_and_every_alert_is_answered(api: Api, tmp_path: Path) -> None:
    begun = time.time()
    async with prometheus(tmp_path, find(api.system.data_dir).metrics) as server:
        await server.scraped()
        # Twice: a rate needs a sample from before the counter moved.
        for _ in range(2):
            await use_everything(api)
            await server.scraped()
        empty: dict[str, list[str]] = {}
        for panel in (panel for dashboard in DASHBOARDS for panel in dashboard.panels):
            answers = []
            for query in panel.queries:
                expr = query.expr.replace("$__rate_interval", "1m")
                # Beyond the present, so that the last step is after the last scrape.
                answers.append(await server.query_range(expr, start=begun, end=time.time() + 2))
            values = [value for series in answers for one in series for _, value in one.points]
            if not any(math.isfinite(value) for value in values):
                empty.setdefault(panel.exporter, []).append(panel.title)
        own = set(empty.pop("", []))
        assert own <= QUIET | SELDOM
        # Nothing else is empty but what needs an exporter, and that panel says so.
        assert all(exporter for exporter in empty)
        for rule in await server.rules():
            assert rule["health"] == "ok", rule
