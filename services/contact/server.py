"""gRPC server of contact: validates requests and maps messages; `infra.rpc` maps the errors."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import UserNotFound
from contracts.events.friendship import FriendshipAccepted, FriendshipCreated, FriendshipRemoved
from contracts.notification_kinds import BLOCK_CHANGED, LiveBlock, LiveFriendship
from contracts.positions import Position
from contracts.rpc.vestnik.contact.v1 import (
    AddFriendRequest,
    AddFriendResponse,
    BackfillRequest,
    BlockedUser,
    BlockUserRequest,
    BlockUserResponse,
    ClientEvent,
    Friend,
    FriendState,
    GetFriendsRequest,
    GetFriendsResponse,
    IsFriendRequest,
    IsFriendResponse,
    ListBlockedRequest,
    ListBlockedResponse,
    RemoveFriendRequest,
    RemoveFriendResponse,
    UnblockUserRequest,
    UnblockUserResponse,
)
from contracts.rpc.vestnik.contact.v1 import Relation as RpcRelation
from contracts.subjects import CONTACT
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import PAGE_LIMIT, Id, PageLimit
from contracts.values.timestamps import rfc3339, to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.contact.commands import ContactCommands
from services.contact.domain import Relation
from services.contact.queries import ChangeRow, FriendQueries, FriendRow, FriendsCursor
from services.contact.reports.commands import ReportCommands
from services.contact.reports.queries import ReportQueries
from services.contact.reports.server import ReportServer

_EVENTS_PAGE = 500
_ALL = 1 << 62

_STATES = {
    Relation.ACCEPTED: FriendState.ACCEPTED,
    Relation.INCOMING: FriendState.INCOMING,
    Relation.OUTGOING: FriendState.OUTGOING,
}
_RELATIONS: dict[int, Relation | None] = {FriendState.UNSPECIFIED: None} | {
    number: relation for relation, number in _STATES.items()
}
_TYPES: dict[str, str] = {
    Relation.ACCEPTED: FriendshipAccepted.TYPE,
    Relation.INCOMING: FriendshipCreated.TYPE,
    Relation.OUTGOING: FriendshipCreated.TYPE,
    Relation.REMOVED: FriendshipRemoved.TYPE,
}


class _Pair(msgspec.Struct, frozen=True):
    user_id: Id
    friend_id: Id


class _Page(msgspec.Struct, frozen=True):
    user_id: Id
    state: Annotated[int, Meta(ge=0, le=3)]
    limit: PageLimit


class _Block(msgspec.Struct, frozen=True):
    user_id: Id
    blocked_id: Id


class _BlocksPage(msgspec.Struct, frozen=True):
    user_id: Id
    limit: PageLimit


class _Backfill(msgspec.Struct, frozen=True):
    user_id: Id
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)]


class ContactServer(ReportServer):
    def __init__(
        self, commands: ContactCommands, queries: FriendQueries, reporting: ReportCommands, reports: ReportQueries
    ) -> None:
        super().__init__(reporting, reports, queries)
        self._commands = commands
        self._queries = queries

    async def add_friend(self, message: AddFriendRequest) -> AddFriendResponse:
        request = validated(_Pair, {"user_id": message.user_id, "friend_id": message.friend_id})
        seen, created, sequence = await self._commands.add(request.user_id, request.friend_id, current())
        return AddFriendResponse(state=_STATES[seen], created=created, position=_position(sequence))

    async def remove_friend(self, message: RemoveFriendRequest) -> RemoveFriendResponse:
        request = validated(_Pair, {"user_id": message.user_id, "friend_id": message.friend_id})
        sequence = await self._commands.remove(request.user_id, request.friend_id, current())
        return RemoveFriendResponse(position=_position(sequence))

    async def is_friend(self, message: IsFriendRequest) -> IsFriendResponse:
        request = validated(_Pair, {"user_id": message.user_id, "friend_id": message.friend_id})
        try:
            friends = await self._commands.is_friend(request.user_id, request.friend_id)
        except UserNotFound:
            return IsFriendResponse(relation=RpcRelation.UNKNOWN_USER)
        relation = RpcRelation.FRIENDS if friends.friends else RpcRelation.NOT_FRIENDS
        return IsFriendResponse(relation=relation, position=_position(friends.sequence), read_at=friends.read_at)

    async def get_friends(self, message: GetFriendsRequest) -> GetFriendsResponse:
        request = validated(
            _Page,
            {
                "user_id": message.user_id,
                "state": int(message.state),
                "limit": message.limit or PAGE_LIMIT,
            },
        )
        page, more, position = await self._queries.friends(
            request.user_id,
            _RELATIONS[request.state],
            current().position,
            limit=request.limit,
            after=decode_cursor(message.cursor, FriendsCursor),
        )
        return GetFriendsResponse(
            friends=[_friend(row) for row in page],
            next=encode_cursor(more) if more else "",
            position=position.encode(),
        )

    async def block_user(self, message: BlockUserRequest) -> BlockUserResponse:
        request = validated(_Block, {"user_id": message.user_id, "blocked_id": message.blocked_id})
        sequence = await self._commands.block(request.user_id, request.blocked_id, current())
        return BlockUserResponse(position=_position(sequence))

    async def unblock_user(self, message: UnblockUserRequest) -> UnblockUserResponse:
        request = validated(_Block, {"user_id": message.user_id, "blocked_id": message.blocked_id})
        sequence = await self._commands.unblock(request.user_id, request.blocked_id, current())
        return UnblockUserResponse(position=_position(sequence))

    async def list_blocked(self, message: ListBlockedRequest) -> ListBlockedResponse:
        request = validated(_BlocksPage, {"user_id": message.user_id, "limit": message.limit or PAGE_LIMIT})
        page, more, position = await self._queries.blocked(
            request.user_id,
            current().position,
            limit=request.limit,
            after=decode_cursor(message.cursor, FriendsCursor),
        )
        return ListBlockedResponse(
            blocked=[BlockedUser(user_id=row.blocked_id, since=to_unix_ms(row.since)) for row in page],
            next=encode_cursor(more) if more else "",
            position=position.encode(),
        )

    async def backfill(self, message: BackfillRequest) -> AsyncIterator[ClientEvent]:
        request = validated(_Backfill, {"user_id": message.user_id, "after": message.after, "limit": message.limit})
        await self._queries.wait_for(current().position)
        after, left = request.after, request.limit or _ALL
        while page := await self._queries.backfill(request.user_id, after, size := min(left, _EVENTS_PAGE)):
            for row in page:
                yield _client_event(row)
            after, left = page[-1].sequence, left - len(page)
            if len(page) < size:
                return


def _friend(row: FriendRow) -> Friend:
    return Friend(user_id=row.friend_id, state=_STATES[row.relation], since=to_unix_ms(row.since))


def _client_event(row: ChangeRow) -> ClientEvent:
    at = rfc3339(row.since)
    if row.state in ("blocked", "unblocked"):
        block = LiveBlock(row.friend_id, row.state == "blocked", at)
        return ClientEvent(type=BLOCK_CHANGED, sequence=row.sequence, data=msgspec.json.encode(block))
    data = LiveFriendship(row.friend_id, row.state, at)
    return ClientEvent(type=_TYPES[row.state], sequence=row.sequence, data=msgspec.json.encode(data))


def _position(sequence: int) -> str:
    return Position.at(CONTACT, sequence).encode() if sequence else ""
