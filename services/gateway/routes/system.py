"""Routes about the gateway itself: health, readiness, metrics, public keys, API documentation."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    Handler,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies
from services.gateway.limits.rate_limiter import Limit
from services.gateway.observability.metrics import MEDIA_TYPE

_PAGE = Path(__file__).parent.parent / "static" / "api_docs"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Health(msgspec.Struct, frozen=True):
    status: str


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    # What does not work nevertheless, such as `event store: out of space`; absent if all does.
    warnings: list[str] = []


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
    return Response(body=Ready("ready", await incoming.context.readiness.warnings()))


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


def operation(
    path: str,
    summary: str,
    handler: Handler[NoQuery, NoBody],
    *,
    answers: Mapping[int, DocumentedResponse],
    description: str = "",
    limit: Limit | None = None,
) -> AnyEndpoint:
    """A public GET route without parameters, about the gateway itself."""
    return Endpoint(
        method="GET",
        path=path,
        tag="Operation",
        summary=summary,
        description=description,
        handler=handler,
        query=NoQuery,
        body=NoBody,
        answers=answers,
        limits=(AppliedLimit(limit=limit),) if limit is not None else (),
        public=True,
    )


def document_of(description: str, media_type: str) -> Mapping[int, DocumentedResponse]:
    """The only successful response: a document of the media type."""
    return {200: DocumentedResponse(description=description, media_type=media_type)}


ROUTES: tuple[AnyEndpoint, ...] = (
    operation(
        "/healthz",
        "Liveness of the process",
        health,
        answers={200: DocumentedResponse(description="It does.", body=Health)},
        limit=policies.HEALTH_ADDRESS,
    ),
    operation(
        "/readyz",
        "Readiness of the process and its dependencies",
        ready,
        answers={
            200: DocumentedResponse(description="All of it; what does not work is in `warnings`.", body=Ready),
            503: DocumentedResponse(description="Not ready: the parts that are missing.", body=NotReady),
        },
        limit=policies.HEALTH_ADDRESS,
    ),
    operation(
        "/metrics",
        "Figures for Prometheus",
        metrics,
        answers=document_of("All figures.", "text/plain"),
        limit=policies.METRICS_ADDRESS,
    ),
    operation(
        "/.well-known/jwks.json",
        "The public keys of access tokens",
        keys,
        answers=document_of("A JWK set (RFC 7517).", "application/jwk-set+json"),
    ),
    operation("/docs", "This description as a web page", docs, answers=document_of("The page.", "text/html")),
    operation("/docs/docs.js", "The page's script", docs_script, answers=document_of("The script.", "text/javascript")),
    operation("/docs/docs.css", "The page's style", docs_style, answers=document_of("The style.", "text/css")),
)
