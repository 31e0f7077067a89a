"""Routes about the gateway itself: health, readiness, metrics, public keys, API documentation."""

from pathlib import Path

import msgspec

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
from services.gateway.observability.metrics import MEDIA_TYPE

_PAGE = Path(__file__).parent.parent / "static" / "api_docs"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Health(msgspec.Struct, frozen=True):
    status: str


class NotReady(msgspec.Struct, frozen=True):
    status: str
    # The parts that are not ready.
    missing: list[str]


async def health(incoming: Request[NoQuery, NoBody]) -> Response:
    return Response(body=Health("ok"))


async def ready(incoming: Request[NoQuery, NoBody]) -> Response:
    missing = await incoming.context.readiness.missing()
    if missing:
        return Response(status=503, body=NotReady("not ready", missing), headers={"retry-after": "1"})
    return Response(body=Health("ready"))


async def metrics(incoming: Request[NoQuery, NoBody]) -> Response:
    return Response(body=incoming.context.metrics.exposition(), headers={"content-type": MEDIA_TYPE})


async def keys(incoming: Request[NoQuery, NoBody]) -> Response:
    headers = {"content-type": "application/jwk-set+json", "cache-control": "public, max-age=300"}
    return Response(body=incoming.context.keys.jwks, headers=headers)


async def docs(incoming: Request[NoQuery, NoBody]) -> Response:
    return _file("docs.html", "text/html; charset=utf-8")


async def docs_script(incoming: Request[NoQuery, NoBody]) -> Response:
    return _file("docs.js", "text/javascript; charset=utf-8")


async def docs_style(incoming: Request[NoQuery, NoBody]) -> Response:
    return _file("docs.css", "text/css; charset=utf-8")


def _file(name: str, media_type: str) -> Response:
    headers = {"content-type": media_type, "cache-control": "no-cache", "content-security-policy": _PAGE_POLICY}
    return Response(body=(_PAGE / name).read_bytes(), headers=headers)


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/healthz",
        tag="Operation",
        summary="Whether the process lives",
        handler=health,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="It does.", body=Health)},
        limits=(AppliedLimit(limit=policies.HEALTH_ADDRESS),),
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        tag="Operation",
        summary="Whether everything that it needs is ready",
        handler=ready,
        query=NoQuery,
        body=NoBody,
        answers={
            200: DocumentedResponse(description="All of it.", body=Health),
            503: DocumentedResponse(description="Not all: the parts that are missing.", body=NotReady),
        },
        limits=(AppliedLimit(limit=policies.HEALTH_ADDRESS),),
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        tag="Operation",
        summary="Figures for Prometheus",
        handler=metrics,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="All figures.", media_type="text/plain")},
        limits=(AppliedLimit(limit=policies.METRICS_ADDRESS),),
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/.well-known/jwks.json",
        tag="Operation",
        summary="The public keys of access tokens",
        handler=keys,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="A JWK set (RFC 7517).", media_type="application/jwk-set+json")},
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/docs",
        tag="Operation",
        summary="This description as a page",
        handler=docs,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The page.", media_type="text/html")},
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/docs/docs.js",
        tag="Operation",
        summary="The page's script",
        handler=docs_script,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The script.", media_type="text/javascript")},
        public=True,
    ),
    Endpoint(
        method="GET",
        path="/docs/docs.css",
        tag="Operation",
        summary="The page's style",
        handler=docs_style,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The style.", media_type="text/css")},
        public=True,
    ),
)
