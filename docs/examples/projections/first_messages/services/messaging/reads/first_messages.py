"""Shows the read model `first_messages` to clients: a row by its key, and pages of rows."""

from typing import ClassVar

import msgspec

from contracts.errors import NotFound
from contracts.reads.first_messages import FirstMessagesCursor, FirstMessagesItem, FirstMessagesKey
from contracts.rpc.vestnik.messaging.v1 import (
    FirstMessagesPageRequest,
    FirstMessagesPageResponse,
    FirstMessagesRowRequest,
    FirstMessagesRowResponse,
    FirstMessagesServiceBase,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, PageLimit
from contracts.values.validation import validated
from infra.rpc.call_context import current
from projections.engine.read_model import ReadModel
from projections.engine.read_servers import to_json

# In both, `%(caller)s` is the user who asks.
_ROW = """
    SELECT conversation_id, CASE WHEN one_id = %(caller)s THEN other_id ELSE one_id END AS user_id, seconds
    FROM {first_messages}
    WHERE conversation_id = %(conversation_id)s AND (one_id = %(caller)s OR other_id = %(caller)s)
"""
# The quickest first; friends who have not written are left out.
_PAGE = """
    SELECT conversation_id, CASE WHEN one_id = %(caller)s THEN other_id ELSE one_id END AS user_id, seconds
    FROM {first_messages}
    WHERE (one_id = %(caller)s OR other_id = %(caller)s) AND seconds IS NOT NULL
        AND (%(conversation_id)s::uuid IS NULL
            OR (seconds, conversation_id) > (%(seconds)s::bigint, %(conversation_id)s::uuid))
    ORDER BY seconds, conversation_id LIMIT %(limit)s
"""


class _Row(FirstMessagesKey, frozen=True):
    # The user who asks.
    caller: Id


class _Page(msgspec.Struct, frozen=True):
    caller: Id
    limit: PageLimit


_FIRST_PAGE = dict.fromkeys(FirstMessagesCursor.__struct_fields__)


class FirstMessagesReads(FirstMessagesServiceBase):
    READ_MODEL: ClassVar[str] = "first_messages"

    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def get_row(self, message: FirstMessagesRowRequest) -> FirstMessagesRowResponse:
        values = dict(zip(FirstMessagesKey.__struct_fields__, message.key, strict=False))
        row = validated(_Row, {**values, "caller": message.user_id}, strict=False)
        await self._model.wait_for(current().position)
        rows, position = await self._model.select(FirstMessagesItem, _ROW, msgspec.structs.asdict(row))
        if not rows:
            raise NotFound
        return FirstMessagesRowResponse(item=to_json(rows[0]), position=position.encode())

    async def list_rows(self, message: FirstMessagesPageRequest) -> FirstMessagesPageResponse:
        page = validated(_Page, {"caller": message.user_id, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, FirstMessagesCursor)
        await self._model.wait_for(current().position)
        values = msgspec.structs.asdict(after) if after else _FIRST_PAGE
        values = {**values, "caller": page.caller, "limit": page.limit + 1}
        rows, position = await self._model.select(FirstMessagesItem, _PAGE, values)
        items = rows[: page.limit]
        is_last = len(rows) == len(items)
        following = None if is_last else msgspec.convert(items[-1], FirstMessagesCursor, from_attributes=True)
        return FirstMessagesPageResponse(
            items=to_json(items),
            next=encode_cursor(following) if following else "",
            position=position.encode(),
        )
