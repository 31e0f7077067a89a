"""Routes for typing and presence."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import NotFriends
from contracts.notification_kinds import LivePresence
from contracts.values.field_types import Id
from services.gateway.http.endpoint import (
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
from services.gateway.limits import policies
from services.gateway.presence.watches import MOST_WATCHED

_TYPING = """\
The friend's clients get the live event `typing`, wherever they are connected; it holds for 6 seconds. Repeat it every \
3 to 5 seconds while the user goes on writing; a repeat within 2 seconds of the last is answered and not passed on. \
Nothing of it is stored, and a client that is not connected misses it. It is shown whatever the `presence` in the \
user's profile: a client whose user does not want that sends none.
"""

_PRESENCE = """\
Friends only: other users are left out, and so are those who hide their presence in their profile's settings; who \
hides gets an empty list. A friend is online with an open live connection, and for 5 seconds after the last has gone.

The answer is also a subscription: from now on all live connections of the session, at any gateway, get an event \
`presence` when it changes, for the 100 people whom the session asked about last. It ends with the connection: ask \
each time when a live connection has opened, when other people come into view, and after `friendship.accepted`. An \
event that arrives between the request and its answer is the newer of the two.
"""


class PresenceQuery(msgspec.Struct, frozen=True):
    # The people who are asked about; the parameter may be repeated.
    user_id: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MOST_WATCHED)]


async def list_presence(incoming: Request[PresenceQuery, NoBody]) -> Response:
    shown = await incoming.context.presence.of(incoming.caller, incoming.query.user_id, incoming.call.position)
    return Response(body=Page(shown, None))


async def typing(incoming: Request[NoQuery, NoBody]) -> Response:
    peer_id = incoming.path_id("user_id", NotFriends)
    await incoming.context.typing.notify(incoming.caller, peer_id, incoming.call.position)
    return Response(status=204)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/presence",
        tag="Presence",
        summary="Who of one's friends is online, or when they were last",
        description=_PRESENCE,
        handler=list_presence,
        query=PresenceQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="Those who may be shown, on one page.", body=Page[LivePresence])},
        limits=(AppliedLimit(limit=policies.READ_ADDRESS), AppliedLimit(limit=policies.PRESENCE)),
        reads=True,
        ephemeral=True,
    ),
    Endpoint(
        method="PUT",
        path="/v1/conversations/{user_id}/typing",
        tag="Presence",
        summary="Show a friend that one is writing",
        description=_TYPING,
        handler=typing,
        query=NoQuery,
        body=NoBody,
        answers={204: DocumentedResponse(description="Passed on.")},
        errors=(NotFriends,),
        limits=(AppliedLimit(limit=policies.WRITE_ADDRESS), AppliedLimit(limit=policies.TYPING)),
        reads=True,
        ephemeral=True,
        command="typing",
    ),
)
