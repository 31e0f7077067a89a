"""From the end of a session to the first refusal of its access token, at two gateways that learn of it by stream."""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from infra.embedded.ports import free_ports
from infra.runtime.run_file import find
from infra.security.secrets import Secrets
from tests.bench import people
from tests.bench.people import Login
from tests.bench.report import Row, main, percentile
from tests.fix_system import ROOT, System
from tests.sse_client import Stream, listening

_GATEWAYS = 2
# Refused for its limit once the token was found good: the cheapest answer that needs one.
_PROBE = "/v1/sessions?limit=0"
_WITHIN = 10.0


async def measure(arguments: argparse.Namespace) -> list[Row]:
    settings = {"VESTNIK_BCRYPT_COST": "4"}
    with people.started(settings, replicas=arguments.replicas) as system:
        async with people.client(system.url) as http, _gateways(system) as urls:
            (name,) = await people.people(system, http, 1)
            from_answer: list[float] = []
            from_request: list[float] = []
            streams_ended: list[float] = []
            async with people.client(urls[0]) as one, people.client(urls[1]) as other:
                for _ in range(arguments.revocations):
                    login = await people.log_in(http, name)
                    async with AsyncExitStack() as stack:
                        streams = [await stack.enter_async_context(listening(url, login.access_token)) for url in urls]
                        ending = [asyncio.create_task(_until_ended(stream)) for stream in streams]
                        asked, answered, refused = await _revoked(http, (one, other), login)
                        ended = await asyncio.gather(*ending)
                    streams_ended += [max(0.0, moment - answered) * 1_000 for moment in ended]
                    from_request += [(moment - asked) * 1_000 for moment in refused]
                    from_answer += [max(0.0, moment - answered) * 1_000 for moment in refused]
    from_answer.sort()
    from_request.sort()
    streams_ended.sort()
    what = f"{_GATEWAYS} gateways, {arguments.replicas} of each service"
    return [
        Row(f"from the answer 204 to the refusal, p50 ({what})", percentile(from_answer, 0.5), "ms"),
        Row("… p99", percentile(from_answer, 0.99), "ms", "under 1,000"),
        Row("… slowest", from_answer[-1], "ms"),
        Row("from the answer 204 to the end of a live stream, p50", percentile(streams_ended, 0.5), "ms"),
        Row("… p99", percentile(streams_ended, 0.99), "ms", "under 1,000"),
        Row("from the request to the refusal, p50", percentile(from_request, 0.5), "ms"),
        Row("… p99", percentile(from_request, 0.99), "ms"),
    ]


async def _revoked(
    http: aiohttp.ClientSession, gateways: tuple[aiohttp.ClientSession, ...], login: Login
) -> tuple[float, float, list[float]]:
    """Revokes a session; returns the times of the request, of its answer, and of each gateway's first refusal."""
    # Both know the token, as gateways do whose user is there.
    for gateway in gateways:
        assert await _status(gateway, login) == 422
    probing = [asyncio.create_task(_until_refused(gateway, login)) for gateway in gateways]
    await asyncio.sleep(0)
    asked = time.perf_counter()
    async with http.delete(f"/v1/sessions/{login.session_id}", headers=login.headers) as answer:
        assert answer.status == 204, await answer.text()
    answered = time.perf_counter()
    return asked, answered, list(await asyncio.gather(*probing))


async def _until_ended(stream: Stream) -> float:
    await stream.until_end(_WITHIN)
    return time.perf_counter()


async def _until_refused(gateway: aiohttp.ClientSession, login: Login) -> float:
    async with asyncio.timeout(_WITHIN):
        while await _status(gateway, login) != 401:
            pass
        return time.perf_counter()


async def _status(gateway: aiohttp.ClientSession, login: Login) -> int:
    async with gateway.get(_PROBE, headers=login.headers) as answer:
        return answer.status


@asynccontextmanager
async def _gateways(system: System) -> AsyncIterator[list[str]]:
    """Additional gateways, which learn of a revocation only from the stream: the request goes to another one."""
    running = find(system.data_dir)
    nats_address = urlsplit(running.nats_url)
    password = Secrets.load(system.data_dir / "secrets").nats_password("gateway")
    common = {
        **system.environment,
        "VESTNIK_NATS_URL": f"nats://gateway:{password}@{nats_address.hostname}:{nats_address.port}",
        "VESTNIK_PUBLIC_URL": running.gateway_url,
        **{f"VESTNIK_{name.upper()}_ADDRESS": ",".join(addresses) for name, addresses in running.addresses.items()},
    }
    ports = free_ports(_GATEWAYS)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "infra.cli.main", "serve", "gateway"),
            env={**common, "VESTNIK_PORT": str(port)},
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        await asyncio.gather(*map(_ready, urls))
        yield urls
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def _ready(url: str) -> None:
    async with asyncio.timeout(60), people.client(url) as http:
        while True:
            try:
                async with http.get("/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main(measure, revocations=100, replicas=2)
