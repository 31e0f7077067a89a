"""The route of one person: account, public profile and counts."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.rpc.vestnik.operator.v1 import GetPersonRequest
from services.gateway.http.endpoint import AnyEndpoint, NoBody, Request, Response
from services.gateway.routes.operators.operator_route import Time, operator_client, operator_route, reply


class PublicProfile(msgspec.Struct, frozen=True, kw_only=True):
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    updated_at: Time


class SessionCounts(msgspec.Struct, frozen=True, kw_only=True):
    active: int
    total: int
    last_login_at: Time | None
    last_refreshed_at: Time | None


class FriendCounts(msgspec.Struct, frozen=True, kw_only=True):
    accepted: int
    incoming: int
    outgoing: int


class ConversationCounts(msgspec.Struct, frozen=True, kw_only=True):
    open: Annotated[int, Meta(description="Conversations with current friends.")]
    total: int
    messages: Annotated[int, Meta(description="In all conversations, by both people.")]
    unread: int
    last_activity_at: Time | None


class PersonAggregate(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    kind: str
    aggregate_id: str
    with_user_id: Annotated[str | None, Meta(description="The other person, if the aggregate belongs to two.")]


class PersonSeen(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    username: str
    created_at: Time
    email_verified: bool
    profile: Annotated[PublicProfile | None, Meta(description="null before the address is verified.")]
    sessions: SessionCounts | None
    friends: FriendCounts | None
    conversations: ConversationCounts | None
    dead_letters: Annotated[int | None, Meta(description="The person's own aggregates.")]
    aggregates: Annotated[list[PersonAggregate], Meta(description="The newest ten of each kind, to use with `events`.")]
    unknown: Annotated[list[str], Meta(description="Read models that could not be read; their values are null.")]


class PersonQuery(msgspec.Struct, frozen=True, kw_only=True):
    user: Annotated[str, Meta(min_length=1, max_length=64, description="A username or an id.")]


async def person(incoming: Request[PersonQuery, NoBody]) -> Response:
    operator = operator_client(incoming)
    request = GetPersonRequest(user_id=incoming.caller.user_id, user=incoming.query.user)
    return reply(await operator.command(operator.stub.get_person, request, repeatable=True), PersonSeen)


ROUTES: tuple[AnyEndpoint, ...] = (
    operator_route(
        "GET",
        "person",
        "A person: account, public profile and counts",
        person,
        PersonQuery,
        NoBody,
        PersonSeen,
        "No e-mail addresses or texts are shown. Each view is recorded with its operator.",
    ),
)
