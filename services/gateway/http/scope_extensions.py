"""What need not be waited for: a timer is set only where there is something to wait for, which is seldom.

The protocols on the wire put what they know into the scope; without it everything may have to be waited for.
"""

from collections.abc import Callable
from typing import Final

from starlette.types import Scope

# Takes the body, if all of it is here: () -> bytes | None.
TAKE_BODY: Final = "vestnik.whole"
# Whether what is sent now is taken at once: () -> bool.
CAN_WRITE: Final = "vestnik.taken"


def whole_body(scope: Scope) -> bytes | None:
    """The body, where all of it is here; else it has to be received."""
    take: Callable[[], bytes | None] | None = scope.get(TAKE_BODY)
    return take() if take is not None else None


def can_write_now(scope: Scope) -> bool:
    """Whether sending something now waits for nobody."""
    says: Callable[[], bool] | None = scope.get(CAN_WRITE)
    return says is not None and says()
