"""The public keys of access tokens, as they are in the file now: keys change while gateways run."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import jwt

from infra.operator_errors import OperatorError

log = logging.getLogger(__name__)
# Seconds between two looks at the file; a new key is published for longer before anyone signs with it.
_LOOK_EVERY = 1.0


class NoPublishedKeys(OperatorError):
    """The set of public keys cannot be read."""


class VerifyingKeys:
    """One JWK set in a file, looked at once a second at most, and only where somebody asks."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Raises:
            NoPublishedKeys: the file is not there, or is none.
        """
        self._path = path
        self._clock = clock
        self._looked = clock()
        # What tells one state of the file from another.
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._jwks = b""
        # Raised by each change, so that what was verified before can be verified anew.
        self.generation = 0
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise NoPublishedKeys(f"{path} cannot be read ({error}); `vestnik up` makes it") from error

    @property
    def jwks(self) -> bytes:
        """The set as it is published."""
        self.reload_if_changed()
        return self._jwks

    def find(self, key_id: str) -> jwt.PyJWK | None:
        return self._keys.get(key_id)

    def reload_if_changed(self) -> None:
        """Reads the file if it has changed; while it cannot be read, what is known stays."""
        now = self._clock()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            log.warning("%s cannot be read: %s", self._path.name, error)

    def _read(self) -> None:
        found = self._path.stat()
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen == self._seen:
            return
        content = self._path.read_bytes()
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(content.decode()).keys if key.key_id}
        if self._keys and keys.keys() != self._keys.keys():
            log.info("access tokens are verified with the keys %s from now on", ", ".join(keys))
        self._seen, self._jwks, self._keys = seen, content, keys
        self.generation += 1
