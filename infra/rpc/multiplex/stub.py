"""Generated stubs with multiplexed unary calls, which need no stream object each."""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, TypeVar

Stub = TypeVar("Stub")


def multiplexed(kind: Callable[[Any], Stub]) -> Callable[[Any], Stub]:
    """A subclass of the stub whose unary calls need a timeout and go to the `unary` of its channel."""
    factory: Callable[[Any], Stub] = _carrying(kind)
    return factory


@cache
def _carrying(kind: Any) -> Any:  # noqa: ANN401 - a class that was generated, and one made of it
    return type(kind.__name__, (kind,), {"_unary_unary": _unary_unary})


def _unary_unary(
    stub: Any,  # noqa: ANN401 - of the class above
    route: str,
    request: object,
    response_type: type[Any],
    *,
    timeout: float,
    deadline: None = None,
    metadata: Mapping[str, str],
) -> Awaitable[Any]:
    answer: Awaitable[Any] = stub.channel.unary(route, request, response_type, timeout, metadata)
    return answer
