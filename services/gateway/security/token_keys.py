"""Public keys of access tokens, reloaded when their file changes."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import jwt

from infra.operator_errors import OperatorError

log = logging.getLogger(__name__)
# Seconds between checks of the file; new keys are published for longer before they sign.
_CHECK_SECONDS = 1.0


class NoPublishedKeys(OperatorError):
    """The set of public keys cannot be read."""


class VerifyingKeys:
    """A JWK set in a file, checked for changes on use, once a second at most."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Raises:
            NoPublishedKeys: the file is missing or is not a JWK set.
        """
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        # Modification time, inode and size of the file as last read.
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._jwks = b""
        # Increases with each change, so that cached tokens are verified again.
        self.generation = 0
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise NoPublishedKeys(f"{path} cannot be read ({error}); `vestnik up` creates it") from error

    @property
    def jwks(self) -> bytes:
        """The JWK set as published."""
        self.reload_if_changed()
        return self._jwks

    def find(self, key_id: str) -> jwt.PyJWK | None:
        return self._keys.get(key_id)

    def reload_if_changed(self) -> None:
        """Reads the file if it has changed; keeps the loaded keys while it cannot be read."""
        now = self._clock()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        try:
            self._read()
        except (OSError, ValueError, jwt.PyJWTError) as error:
            log.warning("%s cannot be read: %s", self._path.name, error)

    def _read(self) -> None:
        file = self._path.stat()
        seen = (file.st_mtime_ns, file.st_ino, file.st_size)
        if seen == self._seen:
            return
        content = self._path.read_bytes()
        keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(content.decode()).keys if key.key_id}
        if self._keys and keys.keys() != self._keys.keys():
            log.info("now verifying access tokens with the keys %s", ", ".join(keys))
        self._seen, self._jwks, self._keys = seen, content, keys
        self.generation += 1
