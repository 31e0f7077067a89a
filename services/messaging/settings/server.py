"""The gRPC methods for a reader's settings of conversations, and drafts."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from contracts.events.message import FOREVER
from contracts.notification_kinds import LiveConversation
from contracts.rpc.vestnik.messaging.v1 import (
    DeleteDraftsRequest,
    DeleteDraftsResponse,
    ListMutesRequest,
    ListMutesResponse,
    MessagingServiceBase,
    Mute,
    UpdateConversationRequest,
    UpdateConversationResponse,
)
from contracts.values.field_types import Draft, Id
from contracts.values.ids import pair_id
from contracts.values.timestamps import from_unix_ms, to_unix_ms
from contracts.values.validation import validated
from infra.rpc.call_context import current
from services.messaging.queries import MessageQueries
from services.messaging.rpc_messages import UserRequest, encoded_position
from services.messaging.settings.commands import SettingsCommands
from services.messaging.settings.domain import SettingsPatch


class _Update(msgspec.Struct, frozen=True):
    user_id: Id
    peer_id: Id
    muted_until: Annotated[int, Meta(ge=0, le=to_unix_ms(FOREVER))] | None
    pinned: bool | None
    archived: bool | None
    draft: Draft | None


class SettingsServer(MessagingServiceBase):
    def __init__(self, settings: SettingsCommands, messages: MessageQueries) -> None:
        self._settings = settings
        self._messages = messages

    async def update_conversation(self, message: UpdateConversationRequest) -> UpdateConversationResponse:
        request = validated(
            _Update,
            {
                "user_id": message.user_id,
                "peer_id": message.peer_id,
                "muted_until": message.muted_until,
                "pinned": message.pinned,
                "archived": message.archived,
                "draft": message.draft,
            },
        )
        patch = SettingsPatch(
            muted_until=UNSET if request.muted_until is None else from_unix_ms(request.muted_until),
            pinned=UNSET if request.pinned is None else request.pinned,
            archived=UNSET if request.archived is None else request.archived,
        )
        sequence = await self._settings.update(request.user_id, request.peer_id, patch, current(), draft=request.draft)
        if request.draft is None:
            return UpdateConversationResponse(position=encoded_position(sequence))
        live = LiveConversation(
            user_id=request.peer_id,
            conversation_id=pair_id(request.user_id, request.peer_id),
            draft=request.draft,
        )
        return UpdateConversationResponse(position=encoded_position(sequence), live=msgspec.json.encode(live))

    async def delete_drafts(self, message: DeleteDraftsRequest) -> DeleteDraftsResponse:
        request = validated(UserRequest, {"user_id": message.user_id})
        await self._settings.remove_drafts(request.user_id)
        return DeleteDraftsResponse()

    async def list_mutes(self, message: ListMutesRequest) -> ListMutesResponse:
        request = validated(UserRequest, {"user_id": message.user_id})
        rows = await self._messages.mutes(request.user_id, current().position)
        return ListMutesResponse(
            mutes=[Mute(peer_id=row.peer_id, muted_until=to_unix_ms(row.muted_until)) for row in rows]
        )
