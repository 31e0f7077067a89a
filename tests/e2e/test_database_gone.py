"""The database disappears under a running system."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from contracts.services import GATEWAY
from infra.runtime.run_file import find
from tests.fix_system import ROOT, System, wait_until


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path / "data")
    try:
        system.start()
        yield system
    finally:
        system.stop()


def probe(system: System, question: str, service: str) -> tuple[int, str]:
    """Exit code and output of `vestnik probe` with the addresses of the system's process of the service."""
    running = find(system.data_dir)
    addresses = {"VESTNIK_METRICS_LISTEN": urlsplit(running.metrics[service][0]).netloc}
    if service == GATEWAY:
        addresses["VESTNIK_PORT"] = str(urlsplit(system.url).port)
    else:
        addresses["VESTNIK_LISTEN"] = running.addresses[service][0]
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", "probe", question, service],
        cwd=ROOT,
        env=os.environ | {"VESTNIK_DATA_DIR": str(system.data_dir), **addresses},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_readiness_and_metrics_say_that_the_database_is_gone(alone: System) -> None:
    async def drop() -> None:
        server_url, name = alone.superusers_database_url().rsplit("/", 1)
        async with await psycopg.AsyncConnection.connect(f"{server_url}/template1", autocommit=True) as admin:
            await admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    processes = {service: alone.serving(service)[0] for service in ("auth", "gateway")}
    for service in processes:
        assert probe(alone, "ready", service) == (0, f"{service} is ready\n")
    readiness = find(alone.data_dir).metrics["auth"][0].replace("/metrics", "/readyz")
    assert httpx.get(readiness, timeout=60).status_code == 200
    asyncio.run(drop())
    wait_until(lambda: not alone.is_ready(), "/readyz says that the database is gone")
    answer = httpx.get(f"{alone.url}/readyz")
    assert answer.status_code == 503
    assert set(answer.json()["missing"]) <= {"auth", "session", "profile", "contact", "messaging"}
    assert answer.headers["retry-after"] == "1"
    # The processes live: their restart would not bring the database back.
    for service in processes:
        wait_until(lambda: probe(alone, "ready", service)[0] == 1, f"{service} is not ready")  # noqa: B023 - now
        assert f"{service} is not ready" in probe(alone, "ready", service)[1]
        assert probe(alone, "live", service) == (0, f"{service} is live\n")
    assert httpx.get(readiness, timeout=60).status_code == 503
    metrics = find(alone.data_dir).metrics
    # For the process that lost it, and for the gateway that checks that process.
    for service, down in (("messaging", "postgres"), ("gateway", "messaging")):
        (url,) = metrics[service]
        wait_until(lambda: says(url, down, 0), f"the metrics of {service} say that {down} is down")  # noqa: B023
        assert says(url, "nats", 1)
    processes["auth"].send(signal.SIGSTOP)
    code, output = probe(alone, "live", "auth")
    processes["auth"].send(signal.SIGCONT)
    assert (code, "does not answer" in output) == (1, True), output


def says(url: str, dependency: str, value: float) -> bool:
    return f'vestnik_dependency_up{{dependency="{dependency}"}} {value:.1f}\n' in httpx.get(url, timeout=60).text
