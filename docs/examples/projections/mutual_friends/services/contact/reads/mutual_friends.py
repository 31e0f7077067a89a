"""Shows the read model `mutual_friends` to clients: a row by its key, and pages of rows."""

from typing import ClassVar

import msgspec

from contracts.errors import NotFound
from contracts.reads.mutual_friends import MutualFriendsCursor, MutualFriendsItem, MutualFriendsKey
from contracts.rpc.vestnik.contact.v1 import (
    MutualFriendsPageRequest,
    MutualFriendsPageResponse,
    MutualFriendsRowRequest,
    MutualFriendsRowResponse,
    MutualFriendsServiceBase,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, PageLimit
from contracts.values.validation import validated
from infra.rpc.call_context import current
from projections.engine.read_model import ReadModel
from projections.engine.read_servers import to_json

# In both, `%(caller)s` is the user who asks.
_ROW = """
    SELECT other_id AS user_id, friends FROM {mutual_friends}
    WHERE user_id = %(caller)s AND other_id = %(user_id)s
"""
# Those with whom the user has the most friends in common first.
_PAGE = """
    SELECT other_id AS user_id, friends FROM {mutual_friends}
    WHERE user_id = %(caller)s AND friends > 0
        AND (%(user_id)s::uuid IS NULL OR (friends, other_id) < (%(friends)s::bigint, %(user_id)s::uuid))
    ORDER BY friends DESC, other_id DESC LIMIT %(limit)s
"""


class _Row(MutualFriendsKey, frozen=True):
    # The user who asks.
    caller: Id


class _Page(msgspec.Struct, frozen=True):
    caller: Id
    limit: PageLimit


_FIRST_PAGE = dict.fromkeys(MutualFriendsCursor.__struct_fields__)


class MutualFriendsReads(MutualFriendsServiceBase):
    READ_MODEL: ClassVar[str] = "mutual_friends"

    def __init__(self, model: ReadModel) -> None:
        self._model = model

    async def get_row(self, message: MutualFriendsRowRequest) -> MutualFriendsRowResponse:
        values = dict(zip(MutualFriendsKey.__struct_fields__, message.key, strict=False))
        row = validated(_Row, {**values, "caller": message.user_id}, strict=False)
        await self._model.wait_for(current().position)
        rows, position = await self._model.select(MutualFriendsItem, _ROW, msgspec.structs.asdict(row))
        if not rows:
            raise NotFound
        return MutualFriendsRowResponse(item=to_json(rows[0]), position=position.encode())

    async def list_rows(self, message: MutualFriendsPageRequest) -> MutualFriendsPageResponse:
        page = validated(_Page, {"caller": message.user_id, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, MutualFriendsCursor)
        await self._model.wait_for(current().position)
        values = msgspec.structs.asdict(after) if after else _FIRST_PAGE
        values = {**values, "caller": page.caller, "limit": page.limit + 1}
        rows, position = await self._model.select(MutualFriendsItem, _PAGE, values)
        items = rows[: page.limit]
        is_last = len(rows) == len(items)
        following = None if is_last else msgspec.convert(items[-1], MutualFriendsCursor, from_attributes=True)
        return MutualFriendsPageResponse(
            items=to_json(items),
            next=encode_cursor(following) if following else "",
            position=position.encode(),
        )
