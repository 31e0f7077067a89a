"""Watches the handlers of a projection for everything that makes them impure.

A handler's writes may depend on its events alone: a rebuild runs it again, in another process, at another time. So it
calls no clock, random number, environment, file or network, and keeps nothing between two events, neither in `self` nor
in its class or module (a cache of a pure function is `functools.lru_cache`).
"""

import gc
import importlib.util
import os
import pickle
import random
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from contracts.values import ids
from projections.engine import Projection
from projections.engine.folds import FOLDS
from projections.engine.lookups import LOOKUPS, lookups_of

# Calls of C functions, by qualified name.
_C_CALLS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "_io.open",
    "io.open",
    *(
        f"time.{clock}{unit}"
        for clock in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
        for unit in ("", "_ns")
    ),
    *(f"time.{name}" for name in ("ctime", "gmtime", "localtime", "sleep")),
}
# Operating system, random numbers and network; of these, `fspath` reads only its argument.
_C_MODULES = ("posix.", "Random.", "socket.", "_socket.")
_PURE = {"posix.fspath"}
# What these modules call for themselves does not reach the rows.
_IGNORED_CALLERS = ("importlib.", "logging")


def _python_calls() -> dict[CodeType, str]:
    functions: dict[str, object] = {
        "uuid.uuid1": uuid.uuid1,
        "uuid.uuid4": uuid.uuid4,
        "new_id": ids.new_id,
        "os.getenv": os.getenv,
        **{f"random.{name}": value for name, value in vars(random.Random).items()},
        **{f"secrets.{name}": getattr(secrets, name) for name in secrets.__all__},
        **{f"os.environ.{name}": value for name, value in vars(type(os.environ)).items()},
    }
    return {value.__code__: name for name, value in functions.items() if isinstance(value, FunctionType)}


_PYTHON_CALLS = _python_calls()


class HandlerWatch:
    """Runs the handlers of projections, and collects what they did that is not a function of their events."""

    def __init__(self) -> None:
        # By handler and line: one sentence.
        self._findings: dict[tuple[str, str], str] = {}

    def watched(self, projection: type[Projection]) -> type[Projection]:
        """Returns a subclass with the same handlers, which this watches."""
        kinds = [
            kind for kind in reversed(projection.__mro__) if issubclass(kind, Projection) and kind is not Projection
        ]
        methods = {
            name: self._watch(projection.name, function)
            for kind in kinds
            for name, function in vars(kind).items()
            # The engine's decorators mark handlers with attributes.
            if isinstance(function, FunctionType) and (vars(function) or name == "__init__")
        }
        attributes = {"name": projection.name, "__module__": projection.__module__, **methods}
        return type(projection.__name__, (projection,), attributes)

    def check(self) -> None:
        """Fails if a handler was not pure, with every reason."""
        assert not self._findings, "a handler is not pure:\n" + "\n".join(self._findings.values())

    def _watch(self, projection: str, method: Callable[..., object]) -> Callable[..., object]:
        handler = f"{projection}.{method.__name__}"

        @wraps(method)
        def watched(instance: Projection, *arguments: object, **keywords: object) -> object:
            before = _state(instance, method)
            try:
                with _profiling(partial(self._called, handler, method)):
                    return method(instance, *arguments, **keywords)
            finally:
                after = _state(instance, method)
                if method.__name__ != "__init__":
                    for name in before.keys() | after.keys():
                        if before.get(name) != after.get(name):
                            self._findings.setdefault((handler, name), f"{handler} changes {name} and so keeps state")

        fold: Any = vars(method).get(FOLDS)
        if fold is not None and callable(fold.key):
            setattr(watched, FOLDS, fold._replace(key=self._watch_key(handler, fold.key)))
        keys = {
            name: lookup._replace(key=self._watch_key(handler, lookup.key))
            for name, lookup in lookups_of(method).items()
        }
        setattr(watched, LOOKUPS, keys)
        return watched

    def _watch_key(self, handler: str, key: Callable[..., Any]) -> Callable[..., Any]:
        """Watches the function that computes a key of the handler."""

        def watched(event: object) -> Any:  # noqa: ANN401 - what the function returns
            with _profiling(partial(self._called, f"{handler}'s key", key)):
                return key(event)

        return watched

    def _called(self, handler: str, method: Callable[..., Any], frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            module, name = getattr(argument, "__module__", None), getattr(argument, "__qualname__", "")
            call = f"{module}.{name}" if module else name
            if call == "builtins.hash" and frame.f_code.co_name != "__hash__":
                call = "hash, which differs between processes"
            elif call in _PURE or (call not in _C_CALLS and not call.startswith(_C_MODULES)):
                return
        elif event == "call" and frame.f_code in _PYTHON_CALLS:
            call = _PYTHON_CALLS[frame.f_code]
        else:
            return
        line = _line_of(method, frame)
        if line is not None:
            self._findings.setdefault((handler, line), f"{handler} calls {call} ({line})")


@contextmanager
def _profiling(profile: Callable[[FrameType, str, object], None]) -> Iterator[None]:
    """Reports each call to the function. The garbage collector is off: it would call finalizers of other tests."""
    previous, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(previous)
        if collects:
            gc.enable()


def _line_of(method: Callable[..., Any], frame: FrameType | None) -> str | None:
    """The line of the method's module that leads to a call; None if the call is not to be reported."""
    line = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_IGNORED_CALLERS) or "<frozen importlib" in frame.f_code.co_filename:
            return None
        if frame.f_code is method.__code__:
            return line or f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        if line is None and frame.f_globals is method.__globals__:
            line = f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        frame = frame.f_back
    return None


def _state(instance: Projection, method: Callable[..., Any]) -> dict[str, object]:
    """A fingerprint of everything that the method could keep: of the instance, its classes and its module."""
    state = {f"self.{name}": _fingerprint(value) for name, value in vars(instance).items()}
    for kind in type(instance).__mro__:
        if issubclass(kind, Projection) and kind is not Projection:
            state |= {f"{kind.__name__}.{name}": _fingerprint(value) for name, value in _values(vars(kind))}
    return state | {f"the module's {name}": _fingerprint(value) for name, value in _values(method.__globals__)}


def _values(namespace: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in list(namespace.items()):
        if not (name.startswith("__") or callable(value) or isinstance(value, ModuleType | property)):
            yield name, value


def _fingerprint(value: object) -> object:
    try:
        return pickle.dumps(value)
    except Exception:
        return repr(value)


@contextmanager
def after_a_restart(projection: type[Projection]) -> Iterator[type[Projection]]:
    """Yields the projection as another process has it: of a module loaded again, in another time zone."""
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "Pacific/Apia"
    time.tzset()
    try:
        yield _loaded_again(projection)
    finally:
        del os.environ["TZ"]
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()


def _loaded_again(projection: type[Projection]) -> type[Projection]:
    """A projection of a test stays as it is: its module is the running test."""
    spec = importlib.util.find_spec(projection.__module__)
    if not projection.__module__.startswith("projections.") or spec is None or spec.loader is None:
        return projection
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reloaded: type[Projection] = getattr(module, projection.__name__)
    return reloaded
