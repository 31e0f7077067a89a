"""Synchronous fast paths exposed through the ASGI scope.

They avoid a timer where there is nothing to wait for, which is usual. The protocols set them; without them everything
is awaited.
"""

from collections.abc import Callable
from typing import Final

from starlette.types import Scope

# Takes the body if all of it has arrived: () -> bytes | None.
TAKE_BODY: Final = "vestnik.whole"
# Whether the socket is writable now: () -> bool.
CAN_WRITE: Final = "vestnik.taken"


def whole_body(scope: Scope) -> bytes | None:
    """The body if all of it has arrived; else None, and it has to be received."""
    take: Callable[[], bytes | None] | None = scope.get(TAKE_BODY)
    return take() if take is not None else None


def can_write_now(scope: Scope) -> bool:
    """Whether sending something now completes without waiting."""
    says: Callable[[], bool] | None = scope.get(CAN_WRITE)
    return says is not None and says()
