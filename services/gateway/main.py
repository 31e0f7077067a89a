"""Entry point of the gateway: wires its parts and runs it until SIGTERM or SIGINT."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial

from nats.aio.client import Client as NATS
from starlette.applications import Starlette

from contracts.positions import Position
from contracts.rpc.vestnik.profile.v1 import FindHiddenRequest
from contracts.services import GATEWAY, REGISTRY, dependencies
from contracts.subjects import LAST_SEEN, PROFILE
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from infra.rpc.client import Client
from infra.rpc.replicas import Replicas
from infra.rpc.service_tokens import Issuer
from infra.rpc.tls import HTTP, client_side
from infra.runtime.event_store import StopRequested, open_event_store
from infra.runtime.gc_tuning import tune_gc
from infra.runtime.metrics_endpoint import metrics_endpoint
from infra.runtime.stop_signals import stop_at_signals
from infra.security.certificate_expiry import report_expiry
from infra.security.key_lifecycle import KeyTerms
from infra.security.secrets import Secrets
from infra.settings import Settings
from services.gateway.app import create_app
from services.gateway.cache.message_pages import KnownPages
from services.gateway.cache.profile_cache import ProfileCache
from services.gateway.cache.profile_invalidation import ProfileInvalidation
from services.gateway.cache.profile_reader import ProfileReader
from services.gateway.cache.tree_heads import TreeHeads
from services.gateway.clients import ServiceClients
from services.gateway.consistency.accepted_losses import GivenUp
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.consistency.user_positions import LatestPositions
from services.gateway.context import GatewayContext
from services.gateway.limits import policies
from services.gateway.limits.concurrency_limit import ConcurrencyLimiter
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.limits.shared_counts import SharedLimits
from services.gateway.live.delivery import LiveDelivery
from services.gateway.observability.live_metrics import LiveMetrics
from services.gateway.observability.metrics import Metrics
from services.gateway.observability.presence_metrics import PresenceMetrics
from services.gateway.observability.readiness import Readiness
from services.gateway.presence.draft_notices import DraftNotices
from services.gateway.presence.gateway_bus import GatewayBus
from services.gateway.presence.hidden_users import FindHidden, HiddenUsers
from services.gateway.presence.last_seen import LastSeen
from services.gateway.presence.presence import Presence
from services.gateway.presence.typing_notices import TypingNotices
from services.gateway.route_table import ENDPOINTS
from services.gateway.security.access_tokens import AccessTokens
from services.gateway.security.revocations import Revocations
from services.gateway.security.steady_time import SteadyTime
from services.gateway.security.token_keys import VerifyingKeys
from services.gateway.server.connection_limits import ConnectionLimiter
from services.gateway.server.uvicorn_server import listening_socket, security_headers, serve
from services.gateway.static.files import WebFiles
from streams.jetstream.api import JetStream
from streams.jetstream.key_value import KeyValue
from streams.personal_data.data_keys import DataKeys
from streams.personal_data.key_store import KeyStore
from streams.personal_data.reading import unseal_with
from streams.personal_data.unsealer import Unsealer
from streams.quorum import Quorum
from streams.topology import Placement, ensure_limits, prepare_bucket

log = logging.getLogger(__name__)
# Seconds for which `/readyz` waits for the state of the event store's space.
_SPACE_PATIENCE = 1.0
# Seconds after which the gateway listens also if a part of its own is not ready: it serves what it can, and says why.
_LISTEN_WITHIN = 30.0


async def main(settings: Settings) -> None:
    """Runs the gateway; after SIGTERM or SIGINT it finishes running requests and returns.

    Raises:
        ExceptionGroup: a stream follower failed, which ends the process.
    """
    await run(settings, stop_at_signals())


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Runs the gateway until `stop` is set; waits for NATS, alive but not ready, however long that takes.

    It listens once it is ready for the first time, so that a balancer uses the other gateways until then.
    """
    metrics = Metrics()
    async with metrics_endpoint(settings, settings.port, metrics.exposition):
        await _run(settings, stop, metrics)


async def _run(settings: Settings, stop: asyncio.Event, metrics: Metrics) -> None:
    secrets = Secrets.load(settings.secrets_path)
    try:
        nats, quorum = await open_event_store(settings, GATEWAY, stop)
    except StopRequested:
        return
    try:
        async with gateway(settings, secrets, nats, metrics, quorum) as app:
            tune_gc()
            await app.state.context.readiness.became_ready(stop, patience=_LISTEN_WITHIN)
            with listening_socket(settings) as sock:
                log.info("%s listens on %s:%d", GATEWAY, *sock.getsockname()[:2])
                await serve(
                    app,
                    sock,
                    stop,
                    drain_seconds=settings.drain_seconds,
                    delay_seconds=settings.stop_delay_seconds,
                    is_inherited=settings.listen_fd >= 0,
                    leaving=app.state.context.readiness.leave,
                    ending=app.state.context.live.stop,
                    headers=security_headers(settings),
                    admission=ConnectionLimiter.of(settings),
                )
    finally:
        await nats.close()


@asynccontextmanager
async def gateway(
    settings: Settings, secrets: Secrets, nats: NATS, metrics: Metrics, quorum: Quorum | None = None
) -> AsyncIterator[Starlette]:
    """Builds the application and runs its stream followers while the context is open.

    `quorum`: None where the streams have no replicas.
    """
    unseal_with(nats, Unsealer(DataKeys(KeyStore(nats), secrets.personal_data_keys(KeyTerms.of(settings)))))
    cache = ProfileCache()
    confirm = quorum.require if quorum is not None else lambda: None
    steady_time = SteadyTime()
    revocations = Revocations(
        nats,
        access_token_seconds=settings.access_token_seconds,
        name="revocations",
        silence=settings.revocation_silence_seconds,
        quorum=quorum,
        steady_time=steady_time,
    )
    invalidation = ProfileInvalidation(nats, cache, name="profiles")
    limiter = RateLimiter(secrets.limits_key, exhausted=metrics.limited) if settings.limited else None
    keys = VerifyingKeys(secrets.jwks_path)
    given_up = GivenUp(nats)
    sealed = SealedPositions(secrets.position_keys(KeyTerms.of(settings)), check=given_up.assert_current)

    required = [service for service in dependencies(GATEWAY) if not REGISTRY[service].optional]
    optional = [service for service in dependencies(GATEWAY) if service not in required and settings.addresses[service]]
    replicas = {service: Replicas.of(settings, service) for service in (*required, *optional)}

    def client(target: str) -> Client:
        return Client(target, me=GATEWAY, settings=settings, secrets=secrets, carried=True, replicas=replicas[target])

    load = ConcurrencyLimiter()
    metrics.running.set_function(lambda: load.running)
    report_expiry(settings, GATEWAY, metrics.certificate_expiry)
    readiness = Readiness(
        {
            "nats": lambda: nats.is_connected,
            "revocations": lambda: revocations.alive,
            "profile news": lambda: invalidation.alive,
            "live": lambda: live.alive,
            "quorum": lambda: quorum is None or quorum.was_held,
        },
        {service: replicas[service] for service in required},
        is_full=JetStream(nats, patience=_SPACE_PATIENCE).is_full,
        tls=partial(client_side, settings, GATEWAY),
    )
    async with ProfileReader(
        Replicas.of(settings, "profile_rest"),
        cache,
        invalidation,
        metrics,
        issuer=Issuer(GATEWAY, secrets),
        tls=client_side(settings, GATEWAY, "profile", HTTP),
    ) as profiles:
        with ServiceClients(client, optional=optional) as remotes:
            live = LiveDelivery(
                nats,
                remotes,
                profiles,
                revocations=revocations,
                session_seconds=settings.session_days * 86_400 - settings.access_token_seconds,
                metrics=LiveMetrics(metrics.registry),
                keys=keys,
                sealed=sealed,
                confirm=confirm,
            )
            presence_metrics = PresenceMetrics(metrics.registry)
            bus = GatewayBus(nats, presence_metrics)
            typing, drafts = TypingNotices(bus, live, presence_metrics), DraftNotices(bus, live)
            hidden = HiddenUsers(_find_hidden(remotes), lambda: invalidation.position.sequence(PROFILE))
            last_seen = LastSeen(
                KeyValue(nats, LAST_SEEN),
                presence_metrics,
                hides=lambda user_id: bool(hidden.known(user_id)),
                prepare_bucket=lambda: _prepare_bucket(settings, nats),
            )
            presence = Presence(bus, live, hidden, last_seen, presence_metrics)
            live.listener = presence
            for part, condition in readiness.states().items():
                metrics.report_dependency(part, condition)
            # Readiness asks whether there was a quorum once: reads go on without one.
            metrics.report_dependency("quorum", lambda: quorum is None or quorum.holds)
            revocations.listen(live)
            invalidation.listen(live)
            parts = GatewayContext(
                settings=settings,
                keys=keys,
                remotes=remotes,
                tokens=AccessTokens(
                    keys,
                    issuer=settings.issuer,
                    revoked=revocations,
                    longest=settings.access_token_seconds,
                    clock=steady_time.now,
                ),
                revocations=revocations,
                positions=LatestPositions(),
                sealed=sealed,
                pages=KnownPages(),
                heads=TreeHeads(remotes.notary),
                limiter=limiter,
                load=load,
                profiles=profiles,
                live=live,
                typing=typing,
                drafts=drafts,
                presence=presence,
                readiness=readiness,
                metrics=metrics,
            )

            invalidation.when_erased(live.forget_texts)
            invalidation.when_erased(parts.pages.clear)

            @asynccontextmanager
            async def lifespan(app: Starlette) -> AsyncIterator[None]:
                # Before the first request: positions from before an accepted loss must be refused.
                await given_up.refresh()
                await typing.start()
                await drafts.start()
                async with _shared(settings, nats, limiter), asyncio.TaskGroup() as group:
                    clustered = () if quorum is None else (quorum,)
                    works = (revocations, invalidation, live, presence, given_up, readiness, *clustered)
                    following = [group.create_task(work.run()) for work in works]
                    try:
                        yield
                    finally:
                        for task in following:
                            task.cancel()

            files = WebFiles(edit_window_hours=settings.edit_window_hours)
            app = create_app(ENDPOINTS, parts, files=files, lifespan=lifespan)
            # Entered here and not by the server, whose task would not end the process when a follower fails.
            async with app.router.lifespan_context(app):
                yield app


def _find_hidden(remotes: ServiceClients) -> FindHidden:
    async def find(user_ids: Sequence[str], followed: int) -> Collection[str]:
        call = Call(request_id=new_id(), position=Position.at(PROFILE, followed), caller=GATEWAY)
        request = FindHiddenRequest(user_ids=list(user_ids))
        return (await remotes.profile.read(remotes.profile.stub.find_hidden, request, context=call)).user_ids

    return find


async def _prepare_bucket(settings: Settings, nats: NATS) -> None:
    placement = Placement.parse(settings.stream_placement)
    await prepare_bucket(nats, LAST_SEEN, replicas=settings.stream_replicas, placement=placement)


def _shared(settings: Settings, nats: NATS, limiter: RateLimiter | None) -> AbstractAsyncContextManager[None]:
    """Shares rate-limit counts between gateways while open; does nothing if limits are off."""
    if limiter is None:
        return nullcontext()

    async def make_stream() -> None:
        placement = Placement.parse(settings.stream_placement)
        await ensure_limits(nats, replicas=settings.stream_replicas, placement=placement)

    known = [*policies.ALL, policies.daily_bytes(settings.daily_bytes)]
    return SharedLimits(nats, limiter, known, make_stream=make_stream).run()
