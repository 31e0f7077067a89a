"""The web messenger's files: few, small, read once, the same for everybody."""

import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from services.gateway.entity_tags import matches

FOLDER = Path(__file__).parent / "web"
# Nothing from elsewhere, no code in the page, in nobody's frame: what people write can at worst be text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_WEIGHT = re.compile(r"q=(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
# Files that are found elsewhere than under /web/: the pages themselves, and the worker, whose reach is its own folder.
_PLACES = {"index.html": "/", "ops.html": "/ops", "sw.js": "/sw.js"}


class WebFile:
    """One file, plain and compressed."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._plain = content
        self._packed = gzip.compress(content, 9, mtime=0)
        digest = hashlib.sha256(content).hexdigest()[:24]
        common = {
            "content-type": media_type,
            # Asked for each time, answered in one packet while it is the same: a new release is seen at once.
            "cache-control": "no-cache",
            "vary": "accept-encoding",
            "content-security-policy": POLICY,
            "cross-origin-opener-policy": "same-origin",
        }
        # Of strong tags each names one sequence of bytes.
        self._plain_headers = {**common, "etag": f'"{digest}"'}
        self._packed_headers = {**common, "etag": f'"{digest}-gzip"', "content-encoding": "gzip"}

    def answer(self, headers: Headers) -> Response:
        content, chosen = self._plain, self._plain_headers
        if _takes_gzip(headers.getlist("accept-encoding")):
            content, chosen = self._packed, self._packed_headers
        if matches(headers.get("if-none-match"), chosen["etag"]):
            # Without a content there is no coding of it.
            return Response(
                status_code=304, headers={name: each for name, each in chosen.items() if name != "content-encoding"}
            )
        return Response(content, headers=chosen)


def load(folder: Path = FOLDER) -> Mapping[str, WebFile]:
    """Every file by its path at the gateway."""
    found: dict[str, WebFile] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in _MEDIA_TYPES:
            name = file.relative_to(folder).as_posix()
            found[_PLACES.get(name, f"/web/{name}")] = WebFile(file.read_bytes(), _MEDIA_TYPES[file.suffix])
    return found


def _takes_gzip(accepted: Iterable[str]) -> bool:
    """What `Accept-Encoding` says (RFC 9110, section 12.5.3); what it does not say clearly is no."""
    weights: dict[str, bool] = {}
    for entry in ",".join(accepted).lower().split(","):
        coding, _, weight = entry.replace(" ", "").replace("\t", "").partition(";")
        weights[coding] = not weight or (_WEIGHT.fullmatch(weight) is not None and float(weight[2:]) > 0)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))
