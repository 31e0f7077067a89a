"""Dependencies of the request handlers, built in main.py and passed to every request."""

from dataclasses import dataclass

from infra.settings import Settings
from services.gateway.cache.message_pages import KnownPages
from services.gateway.cache.profile_reader import ProfileReader
from services.gateway.cache.tree_heads import TreeHeads
from services.gateway.clients import ServiceClients
from services.gateway.consistency.encrypted_positions import SealedPositions
from services.gateway.consistency.user_positions import LatestPositions
from services.gateway.limits.concurrency_limit import ConcurrencyLimiter
from services.gateway.limits.rate_limiter import RateLimiter
from services.gateway.live.delivery import LiveDelivery
from services.gateway.observability.metrics import Metrics
from services.gateway.observability.readiness import Readiness
from services.gateway.presence.draft_notices import DraftNotices
from services.gateway.presence.presence import Presence
from services.gateway.presence.typing_notices import TypingNotices
from services.gateway.security.access_tokens import AccessTokens
from services.gateway.security.revocations import Revocations
from services.gateway.security.token_keys import VerifyingKeys


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
    heads: TreeHeads
    # None if limits are off.
    limiter: RateLimiter | None
    load: ConcurrencyLimiter
    profiles: ProfileReader
    live: LiveDelivery
    typing: TypingNotices
    drafts: DraftNotices
    presence: Presence
    readiness: Readiness
    metrics: Metrics
