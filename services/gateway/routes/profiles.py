"""Routes for profiles: read with HTTP caching, search, update one's own."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from contracts.errors import Invalid, ProfileNotFound, StaleProfile, Violation
from contracts.rpc.vestnik.profile.v1 import GetOwnProfileRequest, Profile, SearchProfilesRequest, UpdateProfileRequest
from contracts.values.field_types import AvatarUrl, Bio, DisplayName, Id, LanguageCode, PresenceCode
from services.gateway.clients import required
from services.gateway.http.endpoint import (
    JSON,
    MERGE_PATCH,
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Page,
    Request,
    Response,
)
from services.gateway.http.endpoint_route import POSITION
from services.gateway.http.etags import header_of, matches, parse
from services.gateway.http.query_params import PageQuery
from services.gateway.limits import policies
from services.gateway.routes.timestamps import Time, shown

PUBLIC = "public, max-age=60, stale-while-revalidate=300"
PRIVATE = "private, no-cache"
# Else a cache could serve a stale profile to a client with a later position.
VARY = "Vestnik-Position"


Presence = Annotated[
    PresenceCode,
    Meta(
        description="Who sees when the user is online and was last seen: `friends`, the default, or `nobody`; who "
        "chooses `nobody` sees nobody either."
    ),
]


class ProfileBody(msgspec.Struct, frozen=True):
    """A user's public profile."""

    user_id: Id
    username: str
    display_name: str
    bio: str
    avatar_url: Annotated[str | None, Meta(description="null if there is none.")]
    verified: Annotated[bool, Meta(description="Whether the e-mail address is verified.")]
    updated_at: Time
    deleted: (
        Annotated[bool, Meta(description="true if the account was deleted; there are no names and texts then.")]
        | UnsetType
    ) = UNSET


class OwnProfileBody(ProfileBody, frozen=True, kw_only=True):
    """The user's own profile: as others see it, and settings that nobody else sees."""

    presence: Presence
    language: Annotated[LanguageCode | None, Meta(description="Of the user's pages; null if not set.")]


class ProfilePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A merge patch (RFC 7396): null clears a field; an omitted field stays as it is."""

    display_name: DisplayName | UnsetType | None = UNSET
    bio: Bio | UnsetType | None = UNSET
    avatar_url: AvatarUrl | UnsetType | None = UNSET
    presence: Presence | UnsetType | None = UNSET
    language: LanguageCode | UnsetType | None = UNSET


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    query: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            pattern=r"^[^\x00]*\Z",
            description=(
                "Prefix of a username or display name, or words of either in any order. Case and accents are "
                "ignored, in any script. Results are ordered: names that start with the text, exact matches "
                "first; then names that contain its words; then names that contain them with a typo (a letter "
                "missing, added, wrong, or swapped with the next) in words of four letters and more. Shorter "
                "words must match whole; digits and punctuation must match exactly."
            ),
        ),
    ]


async def get(incoming: Request[NoQuery, NoBody]) -> Response:
    asked_fresh = POSITION in incoming.headers
    user_id = incoming.path_id("user_id", ProfileNotFound)
    return await _get(incoming, user_id, PRIVATE if asked_fresh else PUBLIC)


async def get_me(incoming: Request[NoQuery, NoBody]) -> Response:
    profile, user_id = incoming.context.remotes.profile, incoming.caller.user_id
    answer = await profile.read(profile.stub.get_own_profile, GetOwnProfileRequest(user_id=user_id))
    own_profile: Profile = required(answer.profile)
    etag = f'"{own_profile.etag}"'
    headers = {"etag": etag, "cache-control": PRIVATE, "vary": VARY}
    if matches(header_of(incoming.headers, "if-none-match"), etag):
        return Response(status=304, headers=headers)
    return Response(body=_own(own_profile), headers=headers)


async def search(incoming: Request[SearchQuery, NoBody]) -> Response:
    profile, query = incoming.context.remotes.profile, incoming.query
    request = SearchProfilesRequest(query=query.query, limit=query.limit, cursor=query.cursor)
    answer = await profile.read(profile.stub.search_profiles, request)
    return Response(
        body=Page([_body(match) for match in answer.profiles], answer.next or None), position=answer.position
    )


async def update_me(incoming: Request[NoQuery, ProfilePatch]) -> Response:
    profile, patch = incoming.context.remotes.profile, incoming.body
    user_id = incoming.caller.user_id
    request = UpdateProfileRequest(
        user_id=user_id,
        display_name=_cleared(patch.display_name),
        bio=_cleared(patch.bio),
        avatar_url=_cleared(patch.avatar_url),
        presence=_cleared(patch.presence),
        language=_cleared(patch.language),
        if_match=_if_match(header_of(incoming.headers, "if-match")),
    )
    answer = await profile.command(profile.stub.update_profile, request, repeatable=not request.if_match)
    changed: Profile = required(answer.profile)
    return Response(
        body=_own(changed),
        headers={"etag": f'"{changed.etag}"', "cache-control": PRIVATE},
        position=answer.position,
        written_by=user_id,
    )


async def _get(incoming: Request[NoQuery, NoBody], user_id: str, cache_control: str) -> Response:
    profile = await incoming.context.profiles.get(user_id, incoming.call)
    headers = {"etag": profile.etag, "cache-control": cache_control, "vary": VARY}
    if matches(header_of(incoming.headers, "if-none-match"), profile.etag):
        return Response(status=304, headers=headers)
    return Response(body=profile.body, headers={"content-type": JSON, **headers})


def _cleared(value: str | UnsetType | None) -> str | None:
    """As the service expects it: an empty text clears the field, None leaves it unchanged."""
    if value is UNSET:
        return None
    return value or ""


def _if_match(header: str | None) -> list[str]:
    if header is None:
        return []
    tags = parse(header)
    if not tags:
        raise Invalid(violations=(Violation("/header/If-Match", "Not a list of entity tags"),))
    # A weak tag matches nothing here (RFC 9110, section 13.1.1): send a tag that no profile has.
    return [tag.opaque if not tag.weak else f"W/{tag.opaque}" for tag in tags]


def _own(profile: Profile) -> OwnProfileBody:
    settings = required(profile.settings)
    presence = msgspec.convert(settings.presence, PresenceCode)
    language = msgspec.convert(settings.language or None, LanguageCode | None)
    return OwnProfileBody(**msgspec.structs.asdict(_body(profile)), presence=presence, language=language)


def _body(profile: Profile) -> ProfileBody:
    return ProfileBody(
        profile.user_id,
        profile.username,
        profile.display_name,
        profile.bio,
        profile.avatar_url or None,
        profile.verified,
        shown(profile.updated_at),
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/profiles",
        tag="Profiles",
        summary="Find people",
        handler=search,
        query=SearchQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A page of profiles.", body=Page[ProfileBody])},
        limits=(AppliedLimit(limit=policies.SEARCH_ADDRESS), AppliedLimit(limit=policies.SEARCH)),
        reads=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/profiles/me",
        tag="Profiles",
        summary="One's own profile",
        handler=get_me,
        query=NoQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(
                description="The profile.", body=OwnProfileBody, headers=("ETag", "Cache-Control", "Vary")
            ),
            304: DocumentedResponse(
                description="It still has the given tag.", headers=("ETag", "Cache-Control", "Vary")
            ),
        },
        errors=(ProfileNotFound,),
        request_headers=("If-None-Match",),
        reads=True,
    ),
    Endpoint(
        method="PATCH",
        path="/v1/profiles/me",
        tag="Profiles",
        summary="Update the user's own profile",
        handler=update_me,
        query=NoQuery,
        body=ProfilePatch,
        answers={200: DocumentedResponse(description="The current profile.", body=OwnProfileBody, headers=("ETag",))},
        errors=(StaleProfile, ProfileNotFound),
        limits=(AppliedLimit(limit=policies.PROFILE_CHANGE_ADDRESS), AppliedLimit(limit=policies.PROFILE_CHANGE)),
        media_types=(JSON, MERGE_PATCH),
        request_headers=("If-Match",),
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/profiles/{user_id}",
        tag="Profiles",
        summary="A profile",
        description="Public; may be cached for one minute.",
        handler=get,
        query=NoQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(
                description="The profile.", body=ProfileBody, headers=("ETag", "Cache-Control", "Vary")
            ),
            304: DocumentedResponse(
                description="It still has the given tag.", headers=("ETag", "Cache-Control", "Vary")
            ),
        },
        errors=(ProfileNotFound,),
        limits=(AppliedLimit(limit=policies.PROFILE_ADDRESS),),
        request_headers=("If-None-Match",),
        public=True,
        reads=True,
    ),
)
