"""Checks of a request's origin: the origins that the settings allow, and the gateway's own.

Programs other than browsers send no origin and pass.
"""

from typing import Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from contracts.errors import Forbidden

_OWN = "same-origin"
_ANY = "*"


class AllowedOrigins:
    """Origins whose pages may use the gateway from a browser."""

    def __init__(self, values: frozenset[str]) -> None:
        # In lower case; `*` stands for all.
        self.values = values

    @classmethod
    def parse(cls, text: str) -> Self:
        """`https://app.example.org,https://…`, or `*` for all."""
        return cls(frozenset(part.strip().rstrip("/").lower() for part in text.split(",") if part.strip()))

    def __contains__(self, origin: str) -> bool:
        return _ANY in self.values or origin.lower() in self.values

    def __bool__(self) -> bool:
        return bool(self.values)


def is_own(origin: str, headers: Headers, public_url: str) -> bool:
    """Whether the origin is the requested host or the host of `public_url`."""
    ours = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours - {""}


def check_own(headers: Headers, public_url: str) -> None:
    """Passes requests of this gateway's pages, and of programs other than browsers.

    Pages of another host of the same site are refused: browsers send `SameSite=Strict` cookies with their requests.

    Raises:
        Forbidden: a browser sent the request for a page of another origin.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    # Browsers without `Sec-Fetch-Site` send `Origin` with every POST.
    own = site == _OWN if site is not None else origin is None or is_own(origin, headers, public_url)
    if not own:
        raise Forbidden("Pages of another origin are not served.")
