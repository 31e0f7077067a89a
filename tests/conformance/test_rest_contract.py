"""The OpenAPI document and the gateway's behaviour agree, route by route."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from tests.e2e.people import assert_problem
from tests.fix_system import System, one_replica

pytestmark = one_replica

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class Route(msgspec.Struct, frozen=True):
    method: str
    path: str
    # Success, then the errors that belong to the route.
    statuses: tuple[int, ...]
    public: bool = False
    body: bool = False

    @property
    def address(self) -> str:
        return re.sub(r"\{\w+\}", ID, self.path)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = [
    Route("POST", "/v1/users", (201, 409, 422), public=True, body=True),
    Route("POST", "/v1/users/verify-email", (204, 410, 422), public=True, body=True),
    Route("POST", "/v1/users/resend-verification", (202, 422), public=True, body=True),
    Route("GET", "/v1/users/me", (200, 401)),
    Route("POST", "/v1/sessions", (201, 401, 403, 422), public=True, body=True),
    Route("POST", "/v1/sessions/refresh", (200, 401, 422), public=True, body=True),
    Route("GET", "/v1/sessions", (200, 401)),
    Route("DELETE", "/v1/sessions/{session_id}", (204, 401, 404)),
    Route("DELETE", "/v1/sessions", (204, 401)),
    Route("GET", "/v1/profiles/{user_id}", (200, 304, 404), public=True),
    Route("GET", "/v1/profiles", (200, 401, 422)),
    Route("PATCH", "/v1/profiles/me", (200, 401, 412, 422), body=True),
    Route("PUT", "/v1/friends/{user_id}", (200, 201, 401, 404, 422)),
    Route("DELETE", "/v1/friends/{user_id}", (204, 401)),
    Route("GET", "/v1/friends", (200, 401)),
    Route("POST", "/v1/conversations/{user_id}/messages", (200, 201, 401, 403, 404, 409, 422), body=True),
    Route("GET", "/v1/conversations/{user_id}/messages", (200, 401, 403)),
    Route("GET", "/v1/messages", (200, 401, 422)),
    Route("PUT", "/v1/conversations/{user_id}/seen", (204, 401, 403, 404, 422), body=True),
    Route("PUT", "/v1/conversations/{user_id}/typing", (204, 401, 403)),
    Route("GET", "/v1/presence", (200, 401, 422)),
    Route("GET", "/v1/conversations", (200, 401)),
    Route("GET", "/v1/notifications", (200, 401)),
    Route("GET", "/v1/events", (200, 401, 422)),
    Route("GET", "/v1/ws", (101, 401, 403, 426)),
    Route("GET", "/v1/notifications/unread", (200, 401)),
    Route("POST", "/v1/notifications/read", (204, 401, 422), body=True),
]
CLOSED = [route for route in ROUTES if not route.public]
WITH_BODY = [route for route in ROUTES if route.body]
NAMES: dict[str, Any] = {"ids": lambda route: route.name}


@pytest_asyncio.fixture
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=system.url, timeout=60, verify=False) as client:
        yield client


@pytest_asyncio.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    response = await http.get("/openapi.json")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def operation(document: dict[str, Any], route: Route) -> dict[str, Any]:
    """The route's operation, whatever its path's parameters are called."""
    shapes = {re.sub(r"\{\w+\}", "{}", path): methods for path, methods in document["paths"].items()}
    shape = re.sub(r"\{\w+\}", "{}", route.path)
    assert shape in shapes, f"{route.path} is not in the document"
    body: dict[str, Any] = shapes[shape][route.method.lower()]
    return body


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"]
    assert document["info"]["version"]


@pytest.mark.parametrize("route", ROUTES, **NAMES)
def test_a_route_is_described_with_all_its_answers(document: dict[str, Any], route: Route) -> None:
    described = operation(document, route)
    assert {str(status) for status in route.statuses} <= set(described["responses"])
    assert ("requestBody" in described) == route.body
    assert described.get("summary") or described.get("description")
    security = described.get("security", document.get("security", []))
    if not route.public:
        assert security


def test_every_reference_in_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(document)):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [
        described["operationId"]
        for methods in document["paths"].values()
        for method, described in methods.items()
        if method in {"get", "put", "post", "patch", "delete"}
    ]
    assert len(set(names)) == len(names)


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if method not in {"get", "put", "post", "patch", "delete"}:
                continue
            parameters = [*methods.get("parameters", []), *described.get("parameters", [])]
            described_names = {parameter["name"] for parameter in parameters if parameter.get("in") == "path"}
            assert described_names == set(re.findall(r"\{(\w+)\}", path)), f"{method} {path}"


@pytest.mark.parametrize("route", CLOSED, **NAMES)
async def test_a_route_that_is_not_public_needs_a_token(http: httpx.AsyncClient, route: Route) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        response = await http.request(route.method, route.address, headers=headers)
        assert_problem(response, 401, "unauthenticated")
        assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("route", [route for route in WITH_BODY if route.public], **NAMES)
async def test_a_route_with_a_body_takes_json_of_its_fields_alone(http: httpx.AsyncClient, route: Route) -> None:
    kind = {"Content-Type": "application/json"}
    assert_problem(await http.request(route.method, route.address, content=b"{", headers=kind), 400, "malformed_json")
    assert_problem(await http.request(route.method, route.address, content=b"{}", headers=kind), 422, "invalid")
    stranger = await http.request(route.method, route.address, json={"surprise": 1})
    assert_problem(stranger, 422, "invalid")
    large = await http.request(route.method, route.address, content=b" " * 65_537, headers=kind)
    assert_problem(large, 413, "body_too_large")
    plain = await http.request(route.method, route.address, content=b"{}", headers={"Content-Type": "text/plain"})
    assert_problem(plain, 415, "unsupported_media_type")


@pytest.mark.parametrize("route", ROUTES, **NAMES)
async def test_a_path_refuses_the_methods_it_does_not_have(http: httpx.AsyncClient, route: Route) -> None:
    response = await http.request("TRACE", route.address)
    assert_problem(response, 405, "method_not_allowed")
    assert route.method in re.split(r",\s*", response.headers["Allow"])
