from typing import Any, cast

import pytest
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from infra.settings import Settings
from services.gateway.http.endpoint_route import EndpointRoute
from services.gateway.http.route_index import RouteIndex
from services.gateway.route_table import ENDPOINTS

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class Unlimited:
    """The part of the gateway's context that a route needs before its first request."""

    limiter = None
    settings = Settings()


@pytest.fixture
def index() -> RouteIndex:
    return RouteIndex(EndpointRoute(endpoint, cast(Any, Unlimited())) for endpoint in ENDPOINTS)


def request(method: str, path: str, raw_path: str = "") -> Scope:
    return {"type": "http", "method": method, "path": path, "raw_path": (raw_path or path).encode()}


def test_every_endpoint_is_found_by_its_path_and_method(index: RouteIndex) -> None:
    for route in index.routes:
        names = list(route.param_convertors)
        path = route.path.format(**dict.fromkeys(names, ID))

        match, scope = index.matches(request(route.declaration.method, path))

        assert (match, scope["route"]) == (Match.FULL, route)
        assert scope["path_params"] == dict.fromkeys(names, ID)


async def test_a_method_that_a_path_does_not_have_is_refused_with_all_that_it_has(index: RouteIndex) -> None:
    scope = request("TRACE", f"/v1/friends/{ID}")
    match, child_scope = index.matches(scope)
    assert match is Match.PARTIAL

    with pytest.raises(HTTPException) as refused:
        await index.handle({**scope, **child_scope}, cast(Any, None), cast(Any, None))

    assert (refused.value.status_code, refused.value.headers) == (405, {"allow": "DELETE, PUT"})


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/", ""),
        ("", ""),
        ("/v1", ""),
        ("/v1/friends/", ""),
        ("/v1/friends\n", "/v1/friends%0A"),
        (f"/v1/friends/{ID}/x", ""),
        (f"/v1/friends/{ID}", f"/v1%2Ffriends/{ID}"),
        (f"/v1/friends/{ID}", f"/v1%2ffriends/{ID}"),
    ],
)
def test_no_other_path_is_taken_for_one_of_them(index: RouteIndex, path: str, raw_path: str) -> None:
    assert index.matches(request("PUT", path, raw_path))[0] is Match.NONE


def test_a_websocket_is_none_of_its_requests(index: RouteIndex) -> None:
    assert index.matches({"type": "websocket", "path": "/v1/events"})[0] is Match.NONE
