"""Interface of the process's tracer. Without one nothing is traced, and asking for a span costs one comparison.

A span belongs to a trace that is sampled; `traceparent` decides that before anything else is done. Attributes never
hold ids of people, texts or addresses.
"""

from enum import Enum
from typing import Protocol

from contracts.tracing.traceparent import is_sampled


class SpanKind(Enum):
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(Protocol):
    """A span that is being recorded."""

    @property
    def traceparent(self) -> str:
        """Names this span as the parent of others."""

    def rename(self, name: str) -> None: ...

    def set(self, attribute: str, value: str | int) -> None: ...

    def link(self, traceparent: str) -> None:
        """Notes that another span is related, in its own trace."""

    def end(self, error: str = "") -> None:
        """Ends the span. `error`: the kind of error that it ended with; empty: none."""


class Tracer(Protocol):
    def enter(self, traceparent: str | None, name: str) -> tuple[Span | None, str | None]:
        """As the function `enter`."""

    def child(self, traceparent: str, kind: SpanKind, name: str, began: int | None) -> Span | None:
        """As the function `child`, for a trace that is sampled."""


_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """Sets the tracer of this process; None: nothing is traced."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    return _tracer is not None


def enter(traceparent: str | None, name: str) -> tuple[Span | None, str | None]:
    """Decides by the sampler whether a request that enters the system is traced.

    `traceparent`: the one that the client sent, if any.

    Returns:
        The span of the request if it is traced, and the traceparent for all that the request causes.
    """
    return (None, traceparent) if _tracer is None else _tracer.enter(traceparent, name)


def child(
    traceparent: str | None, kind: SpanKind, operation: str, target: str = "", *, began: int | None = None
) -> Span | None:
    """Begins a span below another one; None if nothing is traced here, or the trace is not sampled.

    `operation`, `target`: the span's name, such as `append` and `MESSAGING`.
    `began`: nanoseconds of Unix time; now if None.
    """
    if _tracer is None or not traceparent or not is_sampled(traceparent):
        return None
    return _tracer.child(traceparent, kind, f"{operation} {target}" if target else operation, began)
