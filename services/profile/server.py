"""gRPC server of profile: validates requests and maps messages; `infra.rpc` maps the errors."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.events.profile import ProfileUpdated
from contracts.rpc.vestnik.profile.v1 import (
    BackfillRequest,
    ClientEvent,
    FindHiddenRequest,
    FindHiddenResponse,
    GetOwnProfileRequest,
    GetOwnProfileResponse,
    GetProfileRequest,
    GetProfileResponse,
    Profile,
    ProfileServiceBase,
    ProfileSettings,
    SearchProfilesRequest,
    SearchProfilesResponse,
    UpdateProfileRequest,
    UpdateProfileResponse,
)
from contracts.values.cursors import decode_cursor, encode_cursor
from contracts.values.field_types import (
    PAGE_LIMIT,
    AvatarUrl,
    Bio,
    DisplayName,
    Id,
    LanguageCode,
    PageLimit,
    PresenceCode,
    SearchText,
)
from contracts.values.timestamps import to_unix_ms
from contracts.values.validation import validated
from contracts.values.visible_text import normalized
from infra.rpc.call_context import current
from services.profile.commands import ProfileCommands
from services.profile.domain import OwnProfile, PublicProfile, UpdateProfile
from services.profile.queries import ProfileQueries, SearchCursor

_EVENTS_PAGE = 500
_ALL = 1 << 62
_MOST_FRIENDS = 10_000
_MOST_ASKED = 1_000
Tag = Annotated[str, Meta(max_length=100)]


class _Get(msgspec.Struct, frozen=True):
    user_id: Id


class _Update(msgspec.Struct, frozen=True):
    """Limits of a merge patch; fields to clear are not validated, since they are empty."""

    user_id: Id
    if_match: Annotated[tuple[Tag, ...], Meta(max_length=50)]
    display_name: DisplayName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
    presence: PresenceCode | None = None
    language: LanguageCode | None = None


class _Hidden(msgspec.Struct, frozen=True):
    user_ids: Annotated[tuple[Id, ...], Meta(max_length=_MOST_ASKED)]


class _Search(msgspec.Struct, frozen=True):
    query: SearchText
    limit: PageLimit


class _Backfill(msgspec.Struct, frozen=True):
    user_ids: Annotated[tuple[Id, ...], Meta(max_length=_MOST_FRIENDS)]
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    limit: Annotated[int, Meta(ge=0)]


class ProfileServer(ProfileServiceBase):
    def __init__(self, commands: ProfileCommands, queries: ProfileQueries) -> None:
        self._commands = commands
        self._queries = queries

    async def get_profile(self, message: GetProfileRequest) -> GetProfileResponse:
        request = validated(_Get, {"user_id": message.user_id})
        profile, position = await self._commands.get(request.user_id, current())
        return GetProfileResponse(profile=_profile(profile), position=position.encode())

    async def get_own_profile(self, message: GetOwnProfileRequest) -> GetOwnProfileResponse:
        request = validated(_Get, {"user_id": message.user_id})
        profile, position = await self._commands.get_own(request.user_id, current())
        return GetOwnProfileResponse(profile=_own(profile), position=position.encode())

    async def find_hidden(self, message: FindHiddenRequest) -> FindHiddenResponse:
        request = validated(_Hidden, {"user_ids": message.user_ids})
        return FindHiddenResponse(user_ids=await self._queries.find_hidden(request.user_ids, current().position))

    async def update_profile(self, message: UpdateProfileRequest) -> UpdateProfileResponse:
        patch = {
            "display_name": _normalized(message.display_name),
            "bio": _normalized(message.bio),
            "avatar_url": message.avatar_url,
            "presence": message.presence,
            "language": message.language,
        }
        request = validated(
            _Update,
            {"user_id": message.user_id, "if_match": message.if_match}
            | {name: value for name, value in patch.items() if value},
        )
        command = msgspec.convert({**patch, "if_match": request.if_match}, UpdateProfile)
        updated, position = await self._commands.update(request.user_id, command, current())
        return UpdateProfileResponse(profile=_own(updated), position=position.encode())

    async def search_profiles(self, message: SearchProfilesRequest) -> SearchProfilesResponse:
        request = validated(_Search, {"query": message.query, "limit": message.limit or PAGE_LIMIT})
        after = decode_cursor(message.cursor, SearchCursor)
        profiles, more, position = await self._queries.search(
            request.query, current().position, limit=request.limit, after=after
        )
        return SearchProfilesResponse(
            profiles=[_profile(profile) for profile in profiles],
            next=encode_cursor(more) if more else "",
            position=position.encode(),
        )

    async def backfill(self, message: BackfillRequest) -> AsyncIterator[ClientEvent]:
        request = validated(_Backfill, {"user_ids": message.user_ids, "after": message.after, "limit": message.limit})
        await self._queries.wait_for(current().position)
        after, left = request.after, request.limit or _ALL
        while page := await self._queries.backfill(request.user_ids, after, size := min(left, _EVENTS_PAGE)):
            for sequence, profile in page:
                yield ClientEvent(type=ProfileUpdated.TYPE, sequence=sequence, data=profile.json())
            after, left = page[-1][0], left - len(page)
            if len(page) < size:
                return


def _normalized(text: str | None) -> str | None:
    return None if text is None else normalized(text)


def _own(profile: OwnProfile) -> Profile:
    message = _profile(profile)
    message.settings = ProfileSettings(presence=profile.presence, language=profile.language or "")
    return message


def _profile(profile: PublicProfile) -> Profile:
    return Profile(
        user_id=profile.user_id,
        username=profile.username,
        display_name=profile.display_name,
        bio=profile.bio,
        avatar_url=profile.avatar_url,
        verified=profile.verified,
        updated_at=to_unix_ms(profile.updated_at),
        etag=profile.etag,
    )
