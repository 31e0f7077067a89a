"""Puts the gateway together and runs it until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as NATS

from infra.connections import connect_nats
from infra.rpc.client import Client
from infra.secrets import Secrets
from infra.settings import SERVICES, Settings
from infra.telemetry import configure_logging
from services.gateway.app import App
from services.gateway.latest_positions import LatestPositions
from services.gateway.metrics import Metrics
from services.gateway.parts import Parts
from services.gateway.profile_cache import ProfileCache
from services.gateway.profile_news import ProfileNews
from services.gateway.profile_reads import ProfileReads
from services.gateway.rate_limits import RateLimiter
from services.gateway.readiness import Readiness
from services.gateway.remotes import Remotes
from services.gateway.revocations import Revocations
from services.gateway.serving import listening_socket, serve
from services.gateway.table import ENDPOINTS
from services.gateway.tokens import AccessTokens

log = logging.getLogger(__name__)
_ME = "gateway"


async def main(settings: Settings) -> None:
    """Runs the gateway; ends after SIGTERM or SIGINT once running requests are finished.

    Raises:
        ExceptionGroup: a follower of a stream failed, and with it the process.
    """
    configure_logging(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await run(settings, stop)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the gateway until `stop` is set."""
    secrets = Secrets.load(settings.secrets_path)
    sock = listening_socket(settings)
    nats = await connect_nats(settings, _ME)
    try:
        async with gateway(settings, secrets, nats) as app:
            log.info("%s listens on %s:%d", _ME, *sock.getsockname()[:2])
            await serve(app, sock, stop, drain_seconds=settings.drain_seconds)
    finally:
        sock.close()
        await nats.close()


@asynccontextmanager
async def gateway(settings: Settings, secrets: Secrets, nats: NATS) -> AsyncIterator[App]:
    """The application with its followers at work."""
    metrics, cache = Metrics(), ProfileCache()
    revocations = Revocations(nats, access_token_seconds=settings.access_token_seconds, name="revocations")
    news = ProfileNews(nats, cache, name="profiles")
    jwks = secrets.jwks()

    def client(target: str) -> Client:
        return Client(target, me=_ME, settings=settings, secrets=secrets)

    readiness = Readiness(
        {
            "nats": lambda: nats.is_connected,
            "revocations": lambda: revocations.alive,
            "profile news": lambda: news.alive,
        },
        {service: settings.addresses_of(service) for service in SERVICES},
    )
    async with ProfileReads(settings.addresses_of("profile_rest"), cache, news, metrics) as profiles:
        with Remotes(client) as remotes:
            parts = Parts(
                settings=settings,
                jwks=jwks,
                remotes=remotes,
                tokens=AccessTokens(jwks, issuer=settings.issuer, revoked=revocations),
                revocations=revocations,
                positions=LatestPositions(),
                limiter=RateLimiter() if settings.limited else None,
                profiles=profiles,
                readiness=readiness,
                metrics=metrics,
            )
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(work.run()) for work in (revocations, news)]
                try:
                    yield App(ENDPOINTS, parts)
                finally:
                    for task in following:
                        task.cancel()
