"""Routes for typing."""

from contracts.errors import NotFriends
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies

_TYPING = """\
The friend's clients get the live event `typing`, wherever they are connected; it holds for 6 seconds. Repeat it every \
3 to 5 seconds while the user goes on writing; a repeat within 2 seconds of the last is answered and not passed on. \
Nothing of it is stored, and a client that is not connected misses it.
"""


async def typing(incoming: Request[NoQuery, NoBody]) -> Response:
    peer_id = incoming.path_id("user_id", NotFriends)
    await incoming.context.typing.notify(incoming.caller, peer_id, incoming.call.position)
    return Response(status=204)


ROUTES: tuple[AnyEndpoint, ...] = (
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
        command="typing",
    ),
)
