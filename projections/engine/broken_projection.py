"""A projection whose code cannot be loaded: its name and its error, in place of the class."""

import msgspec

from projections.engine.running.last_errors import LastError


class Broken(msgspec.Struct, frozen=True):
    """Runs nowhere; what reads it is answered 503."""

    name: str
    last_error: LastError
    cause: Exception

    @classmethod
    def by(cls, name: str, error: Exception) -> "Broken":
        return cls(name, LastError.now(error), error)
