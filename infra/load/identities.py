"""The accounts of a history's people: the same at every run, different for every file.

A load can be repeated without any state: the address, name and password of a person and the `client_message_id` of a
message are derived from the file. So they are only as secret as the file is, and suitable for loads only.
"""

import hashlib
import re

import msgspec

from contracts.values.visible_text import NAME

_PLAIN = re.compile(r"[0-9a-z]{1,20}")
_LONGEST_DISPLAY_NAME = 64


class Identity(msgspec.Struct, frozen=True):
    """The registration data of a person."""

    email: str
    username: str
    password: str
    display_name: str


class Namespace:
    """Derives identities and message ids that are unique to one file."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._short = digest[:10]

    def identity(self, person: str) -> Identity:
        """Returns a person's registration; a name that cannot be a username is hashed and prefixed with `_`."""
        name = person if _PLAIN.fullmatch(person) else f"_{self._secret('name', person)[:16]}"
        shown = person[:_LONGEST_DISPLAY_NAME]
        return Identity(
            email=f"{name}@{self._short}.example",
            username=f"{name}_{self._short}",
            password=self._secret("password", person)[:32],
            display_name=shown if re.search(NAME, shown) else name,
        )

    def client_message_id(self, line: int) -> str:
        return f"{self._short}-{line}"

    def _secret(self, purpose: str, person: str) -> str:
        return hashlib.sha256(f"{self._digest}:{purpose}:{person}".encode()).hexdigest()
