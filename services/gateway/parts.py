"""What the gateway is made of, put together in main.py and handed to every request."""

from dataclasses import dataclass

from infra.settings import Settings
from services.gateway.known_pages import KnownPages
from services.gateway.latest_positions import LatestPositions
from services.gateway.live.delivery import LiveDelivery
from services.gateway.metrics import Metrics
from services.gateway.profile_reads import ProfileReader
from services.gateway.rate_limits import RateLimiter
from services.gateway.readiness import Readiness
from services.gateway.remotes import ServiceClients
from services.gateway.revocations import Revocations
from services.gateway.sealed_positions import SealedPositions
from services.gateway.stream_ends import StreamHeads
from services.gateway.tokens import AccessTokens
from services.gateway.verifying_keys import VerifyingKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayContext:
    settings: Settings
    keys: VerifyingKeys
    remotes: ServiceClients
    tokens: AccessTokens
    revocations: Revocations
    positions: LatestPositions
    sealed: SealedPositions
    pages: KnownPages
    ends: StreamHeads
    # None: limits are switched off.
    limiter: RateLimiter | None
    profiles: ProfileReader
    live: LiveDelivery
    readiness: Readiness
    metrics: Metrics
