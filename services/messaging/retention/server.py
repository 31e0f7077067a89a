"""The gRPC method by which auth learns until when all messages were deleted."""

from contracts.positions import Position
from contracts.rpc.vestnik.messaging.v1 import (
    GetOldestMessageRequest,
    GetOldestMessageResponse,
    MessagingServiceBase,
)
from contracts.subjects import MESSAGING
from contracts.values.timestamps import to_unix_ms
from services.messaging.retention.queries import AgedMessageQueries
from streams.log import Log


class RetentionServer(MessagingServiceBase):
    def __init__(self, log: Log, aged: AgedMessageQueries) -> None:
        self._log = log
        self._aged = aged

    async def get_oldest_message(self, message: GetOldestMessageRequest) -> GetOldestMessageResponse:
        # Of all that were sent until now: one that the read model lacks may be the oldest.
        end = Position.at(MESSAGING, await self._log.end_of(MESSAGING))
        oldest = await self._aged.oldest(end)
        return GetOldestMessageResponse(sent_at=None if oldest is None else to_unix_ms(oldest))
