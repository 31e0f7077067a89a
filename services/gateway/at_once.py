"""What need not be waited for: a timer is set only where there is something to wait for, which is seldom.

The protocols on the wire put what they know into the scope; without it everything may have to be waited for.
"""

from collections.abc import Callable
from typing import Any, Final

from starlette.types import Scope

# Whether the request has come as a whole; whether what is sent now is taken at once. Both: () -> bool.
WHOLE: Final = "vestnik.whole"
TAKEN: Final = "vestnik.taken"


def _never() -> bool:
    return False


def has_come(scope: Scope) -> bool:
    """Whether the body is here, all of it."""
    return _asked(scope.get(WHOLE))


def is_taken(scope: Scope) -> bool:
    """Whether sending something now waits for nobody."""
    return _asked(scope.get(TAKEN))


def _asked(known: Any) -> bool:  # noqa: ANN401 - a scope holds anything
    says: Callable[[], bool] = known or _never
    return says()
