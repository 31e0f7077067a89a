"""The OpenAPI 3.1 document, generated from the route declarations and the types that validate their input."""

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from contracts.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Invalid,
    MalformedJson,
    Overloaded,
    RateLimited,
    ReadModelBehind,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
    VestnikError,
)
from contracts.values.field_types import Id
from services.gateway.http import problems
from services.gateway.http.endpoint import AnyEndpoint, DocumentedResponse, NoQuery
from services.gateway.http.problems import Problem
from services.gateway.openapi.headers import REQUEST_HEADERS, RESPONSE_HEADERS

Json = dict[str, Any]  # a JSON object; OpenAPI nests too deeply for a narrower type
_SCHEMAS = "#/components/schemas/{name}"
_API = "/v1/"
# Relative: the gateway that serves the document, under any name by which the client reaches it.
_SERVERS = [{"url": "/", "description": "The server of this document"}]
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "`access_token` of `POST /v1/sessions` or `POST /v1/sessions/refresh`.",
}
_DESCRIPTION = """\
A messenger: accounts, profiles, friendships, messages.

**Reading your own writes.** The answer to every write has the header `Vestnik-Position`. A read that sends it back \
waits until the read model has reached it, at most 5 seconds, then fails with 503 `read_model_behind`. What is \
no position of this system is refused with 422.

**Access tokens** come from a login, `POST /v1/sessions`, as `access_token`, and are sent in the header \
`Authorization: Bearer …`. A token is valid for `expires_in` seconds; `POST /v1/sessions/refresh` returns the next.

**Errors** are problem documents (RFC 9457); programs should use the stable `code`. \
A 503 or 504 comes with `Retry-After`; with `no_quorum` the event store's node may be cut off from its cluster \
and cannot confirm its state.

**Lists** are paginated: pass `next` of a page as `cursor` to get the following one.
"""


def document(endpoints: Iterable[AnyEndpoint]) -> Json:
    """The whole document."""
    table = list(endpoints)
    references, schemas = _schemas(table)
    responses = {
        _name(kinds): _problem(status, kinds, references)
        for endpoint in table
        for status, kinds in _problems(endpoint).items()
    }
    paths: dict[str, Json] = {}
    for endpoint in table:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vestnik", "version": "1", "description": _DESCRIPTION},
        "servers": _SERVERS,
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in table)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": dict(sorted(responses.items())),
            "parameters": {
                name: {"name": name, "in": "header", "required": False, **header}
                for name, header in REQUEST_HEADERS.items()
            },
            "headers": {name: dict(header) for name, header in RESPONSE_HEADERS.items()},
            "securitySchemes": {"bearerAuth": BEARER},
        },
    }


def errors_of(endpoint: AnyEndpoint) -> tuple[type[VestnikError], ...]:
    """Every error that the route can respond with: its own, and those that its declaration implies."""
    return tuple(dict.fromkeys((*endpoint.errors, *_implied(endpoint))))


def _implied(endpoint: AnyEndpoint) -> Iterator[type[VestnikError]]:
    if not endpoint.public:
        yield Unauthenticated
    if endpoint.takes_body:
        yield from (MalformedJson, BodyTooLarge, UnsupportedMediaType)
    if endpoint.limits:
        yield RateLimited
    if endpoint.path.startswith(_API):
        yield from (Invalid, Unavailable, DeadlineExceeded)
    if endpoint.reads:
        yield ReadModelBehind
    yield from (Overloaded, VestnikError)


def _schemas(endpoints: Iterable[AnyEndpoint]) -> tuple[Mapping[object, Json], Json]:
    """A reference to each type, and the schemas of all types."""
    types: dict[object, None] = {Problem: None}
    for endpoint in endpoints:
        if endpoint.takes_body:
            types[endpoint.body] = None
        types |= {answer.body: None for answer in endpoint.answers.values() if answer.body is not None}
    references, components = msgspec.json.schema_components(list(types), ref_template=_SCHEMAS)
    return dict(zip(types, references, strict=True)), portable(components)


def _operation(endpoint: AnyEndpoint, references: Mapping[object, Json]) -> Json:
    operation: Json = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_header_parameters(endpoint)],
        "responses": {
            **_answers(endpoint, references),
            **{
                str(status): {"$ref": f"#/components/responses/{_name(kinds)}"}
                for status, kinds in _problems(endpoint).items()
            },
        },
        "security": [] if endpoint.public else [{"bearerAuth": []}],
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.takes_body:
        content = {media_type: {"schema": references[endpoint.body]} for media_type in endpoint.media_types}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation_id(endpoint: AnyEndpoint) -> str:
    """`friends_list` for `list_friends` at `/v1/friends`: generated clients use these names.

    The resource comes from the path, so that a module may be renamed.
    """
    version, *parts = endpoint.path.strip("/").split("/")
    resource = "system" if version != "v1" else "messages" if parts[-1] == "messages" else parts[0].replace("-", "_")
    name = endpoint.handler.__name__
    for already_named in (resource, resource.removesuffix("s")):
        name = name.removesuffix(f"_{already_named}")
    return f"{resource}_{name}"


def _path_parameters(endpoint: AnyEndpoint) -> Iterator[Json]:
    types = {field.name: field.type for field in msgspec.structs.fields(endpoint.path_types or NoQuery)}
    for name in re.findall(r"{(\w+)}", endpoint.path):
        schema = portable(msgspec.json.schema(types.get(name, Id)))
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: AnyEndpoint) -> Iterator[Json]:
    (_,), components = msgspec.json.schema_components([endpoint.query], ref_template=_SCHEMAS)
    schema = components[endpoint.query.__name__]
    for name, property_schema in schema["properties"].items():
        shape = portable(_without_null(property_schema))
        parameter: Json = {"name": name, "in": "query", "required": name in schema["required"]}
        if description := shape.pop("description", None):
            parameter["description"] = description
        yield {**parameter, "schema": shape}


def _without_null(schema: Json) -> Json:
    """Removes null from the schema: a parameter is omitted, never null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    if len(options) == 1:
        return {**options[0], **rest}
    if "enum" in rest:
        rest["enum"] = [value for value in rest["enum"] if value is not None]
    return {**rest, "anyOf": options} if options else rest


def _header_parameters(endpoint: AnyEndpoint) -> Iterator[Json]:
    names = ["X-Request-Id", "traceparent", *endpoint.request_headers]
    if endpoint.path.startswith(_API):
        names.append("Vestnik-Position")
    for name in names:
        yield {"$ref": f"#/components/parameters/{name}"}


def _answers(endpoint: AnyEndpoint, references: Mapping[object, Json]) -> Json:
    return {str(status): _answer(endpoint, answer, references) for status, answer in endpoint.answers.items()}


def _answer(endpoint: AnyEndpoint, answer: DocumentedResponse, references: Mapping[object, Json]) -> Json:
    names = ["X-Request-Id", *answer.headers]
    if endpoint.writes or (endpoint.reads and not endpoint.ephemeral and "ETag" not in answer.headers):
        names.append("Vestnik-Position")
    if endpoint.limits:
        names += ["RateLimit-Policy", "RateLimit"]
    response: Json = {"description": answer.description, "headers": _headers(names)}
    if answer.body is not None:
        response["content"] = {answer.media_type: {"schema": references[answer.body]}}
    elif answer.media_type != "application/json":
        response["content"] = {answer.media_type: {}}
    return response


def _problems(endpoint: AnyEndpoint) -> dict[int, list[type[VestnikError]]]:
    """The errors of the route, grouped by status."""
    by_status: dict[int, list[type[VestnikError]]] = {}
    for kind in errors_of(endpoint):
        by_status.setdefault(kind.status, []).append(kind)
    return {status: kinds for status, kinds in sorted(by_status.items()) if status not in endpoint.answers}


def _name(kinds: Iterable[type[VestnikError]]) -> str:
    """Name of the response that routes with the same errors share."""
    return "Or".join("".join(word.capitalize() for word in kind.code.split("_")) for kind in kinds)


def _problem(status: int, kinds: Iterable[type[VestnikError]], references: Mapping[object, Json]) -> Json:
    """A response with one of the errors: the schema `Problem`, with the codes possible here."""
    names = ["X-Request-Id", "RateLimit-Policy", "RateLimit"]
    if status in (*problems.WORTH_RETRYING, HTTPStatus.TOO_MANY_REQUESTS):
        names.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        names.append("WWW-Authenticate")
    codes = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    return {
        "description": "\n\n".join(f"`{kind.code}`: {(kind.__doc__ or '').strip()}" for kind in kinds),
        "headers": _headers(names),
        "content": {problems.MEDIA_TYPE: {"schema": {**references[Problem], **codes}}},
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def portable(schema: Json) -> Json:
    """Translates patterns to the dialect of JSON Schema, which has no `\\Z`; its `$` means the same."""

    def translated(key: str, value: object) -> object:
        if isinstance(value, dict):
            return portable(value)
        if isinstance(value, list | tuple):
            return [translated(key, item) for item in value]
        return value.replace(r"\Z", "$") if key == "pattern" and isinstance(value, str) else value

    return {key: translated(key, value) for key, value in schema.items()}
