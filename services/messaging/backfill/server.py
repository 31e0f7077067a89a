"""The gRPC method that returns what clients missed of conversations."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.messaging.v1 import BackfillRequest, ClientEvent, MessagingServiceBase
from contracts.values.field_types import Id
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.backfill.backfill import backfill
from services.messaging.backfill.queries import BackfillQueries


class _Backfill(msgspec.Struct, frozen=True):
    user_id: Id
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)]
    most_bytes: Annotated[int, Meta(ge=0)]


class BackfillServer(MessagingServiceBase):
    def __init__(self, missed: BackfillQueries) -> None:
        self._missed = missed

    async def backfill(self, message: BackfillRequest) -> AsyncIterator[ClientEvent]:
        request = validated(
            _Backfill,
            {
                "user_id": message.user_id,
                "after": message.after,
                "limit": message.limit,
                "most_bytes": message.most_bytes,
            },
        )
        await self._missed.wait_for(current().position)
        async for event in backfill(self._missed, request.user_id, request.after, request.limit, request.most_bytes):
            yield event
