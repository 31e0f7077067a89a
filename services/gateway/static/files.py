"""The web messenger's files: few, small, read once, the same for every user."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from services.gateway.http.etags import header_of, matches
from services.gateway.http.request_headers import request_headers
from services.gateway.http.response import begin_response
from services.gateway.http.route_index import has_encoded_slash
from services.gateway.observability.metrics import WEB

FOLDER = Path(__file__).parent / "messenger"
# No foreign content, no inline code, no framing: what users write is at worst text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_WORKER = "/sw.js"
_WEIGHT = re.compile(r"q=(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# Files served outside /web/: the pages, and the service worker, whose scope is its own folder.
_PLACES = {"index.html": "/", "ops.html": "/ops", "sw.js": _WORKER}
# Paths that open one of the messenger's views.
_VIEW = r"/(?:people|notifications|settings|chat/[0-9a-f-]{36})?"
_VIEWS = re.compile(_VIEW)
# An attribute of the page that takes the value of `VESTNIK_EDIT_WINDOW_HOURS`.
_EDIT_WINDOW = re.compile(rb'data-edit-window-hours="\d+"')
# On the page itself: the worker compares it with the release that it caches.
RELEASE_HEADER = "vestnik-release"


class WebFile:
    """One file, plain and compressed."""

    def __init__(self, content: bytes, media_type: str, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self._plain = content
        self._packed = gzip.compress(content, 9, mtime=0)
        digest = hashlib.sha256(content).hexdigest()[:24]
        common = {
            "content-type": media_type,
            # Revalidated on each request, a 304 while unchanged: a new release is visible immediately.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
            "content-security-policy": POLICY,
            "cross-origin-opener-policy": "same-origin",
            **more,
        }
        # A strong tag identifies one exact sequence of bytes.
        self._plain_headers = {**common, "etag": f'"{digest}"'}
        self._packed_headers = {**common, "etag": f'"{digest}-gzip"', "content-encoding": "gzip"}

    def answer(self, headers: Headers) -> Response:
        content, chosen = self._plain, self._plain_headers
        if _takes_gzip(headers.getlist("accept-encoding")):
            content, chosen = self._packed, self._packed_headers
        if matches(header_of(headers, "if-none-match"), chosen["etag"]):
            # A 304 has no content, hence no content coding.
            return Response(
                status_code=304, headers={name: value for name, value in chosen.items() if name != "content-encoding"}
            )
        return Response(content, headers=chosen)


class WebFiles(BaseRoute):
    """Route of all files of the messenger and of the operators' page.

    The service worker caches the messenger's files. Their list, with a digest of each, and the release's name are added
    to the worker's script here. The name is a digest over all of them, so that every change makes another release.
    """

    # As metrics name the route.
    path = WEB

    def __init__(self, folder: Path = FOLDER, *, edit_window_hours: int = 48) -> None:
        """`edit_window_hours`: how long the page offers to edit a message; messaging decides."""
        contents = {path: (file.read_bytes(), _MEDIA_TYPES[file.suffix]) for path, file in _placed(folder)}
        page, media_type = contents["/"]
        contents["/"] = _EDIT_WINDOW.sub(b'data-edit-window-hours="%d"' % edit_window_hours, page), media_type
        kept = {path: _integrity(content) for path, (content, _) in contents.items() if not _left_out(path)}
        worker = contents[_WORKER][0].decode()
        self.release = hashlib.sha256(f"{json.dumps(kept)}{worker}".encode()).hexdigest()[:16]
        constants = {"RELEASE": self.release, "FILES": kept, "VIEW": f"^{_VIEW}$"}
        declared = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in constants.items())
        contents[_WORKER] = ((declared + worker).encode(), contents[_WORKER][1])
        self._files = {
            path: WebFile(content, media_type, {RELEASE_HEADER: self.release} if path == "/" else {})
            for path, (content, media_type) in contents.items()
        }

    def find(self, path: str) -> WebFile | None:
        """The file at the path; for the path of a view, the messenger's page."""
        return self._files.get(path) or (self._files["/"] if _VIEWS.fullmatch(path) else None)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or has_encoded_slash(scope):
            return Match.NONE, {}
        file = self.find(scope["path"])
        return (Match.FULL, {"endpoint": file}) if file is not None else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        file: WebFile = scope["endpoint"]
        response = file.answer(request_headers(scope))
        response.headers["x-request-id"] = begin_response(scope, response.status_code)
        await response(scope, receive, send)


def _placed(folder: Path) -> Iterable[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in _MEDIA_TYPES:
            name = file.relative_to(folder).as_posix()
            yield _PLACES.get(name, f"/web/{name}"), file


def _left_out(path: str) -> bool:
    """Whether the worker does not cache the file: itself, and what only the operators' page needs."""
    return path in (_WORKER, "/ops", "/web/ops.css") or path.startswith("/web/js/ops/")


def _integrity(content: bytes) -> str:
    """The digest in the format that `fetch` checks (Subresource Integrity)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


def _takes_gzip(accepted: Iterable[str]) -> bool:
    """Whether `Accept-Encoding` accepts gzip (RFC 9110, section 12.5.3); what is not clear counts as no."""
    weights: dict[str, bool] = {}
    for entry in ",".join(accepted).lower().split(","):
        coding, _, weight = entry.replace(" ", "").replace("\t", "").partition(";")
        weights[coding] = not weight or (_WEIGHT.fullmatch(weight) is not None and float(weight[2:]) > 0)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
