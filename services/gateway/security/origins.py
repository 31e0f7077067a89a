"""Whether a request comes from a page of this gateway, or from none: only browsers say where a page is from."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from contracts.errors import Forbidden

_OWN = "same-origin"


def is_own(origin: str, headers: Headers, public_url: str) -> bool:
    """Whether the origin is the host that was asked, or the address under which the system is known."""
    ours = {headers.get("host", "").lower(), urlsplit(public_url).netloc.lower()}
    return urlsplit(origin).netloc.lower() in ours - {""}


def check_own(headers: Headers, public_url: str) -> None:
    """Lets in pages of this gateway, and programs that are no browser.

    A page of another name of the same site counts as another's: browsers send it along with `SameSite=Strict` cookies.

    Raises:
        Forbidden: a browser sends the request for a page of another origin.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    # Browsers that do not know the first send the second with every POST.
    own = site == _OWN if site is not None else origin is None or is_own(origin, headers, public_url)
    if not own:
        raise Forbidden("Pages of another origin are not served.")
