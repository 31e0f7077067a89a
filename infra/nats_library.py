"""NATS's client library, without the HTTP client that it loads for servers which are reached over WebSockets.

That one takes 6 MiB and a tenth of a second in each process, and where it is missing the library does without.
"""

import sys

_HTTP_CLIENT = "aiohttp"
_WEBSOCKETS = ("ws:", "wss:")


def load(urls: str) -> None:
    """Loads the library, for a process that has not done so yet; whole, where a server's URL asks for WebSockets."""
    if _HTTP_CLIENT in sys.modules or any(url.strip().lower().startswith(_WEBSOCKETS) for url in urls.split(",")):
        return
    sys.modules[_HTTP_CLIENT] = None  # type: ignore[assignment]  # so it is missing for whoever imports it
    try:
        import nats.aio.client  # noqa: F401
    finally:
        del sys.modules[_HTTP_CLIENT]
