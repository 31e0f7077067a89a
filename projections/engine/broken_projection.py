"""A projection whose code cannot be loaded: its name and error, in place of the class."""

import msgspec

from projections.engine.running.last_errors import LastError


class Broken(msgspec.Struct, frozen=True):
    """A projection that does not run; reads of it are answered with 503."""

    name: str
    last_error: LastError
    cause: Exception

    @classmethod
    def by(cls, name: str, error: Exception) -> "Broken":
        return cls(name, LastError.now(error), error)
