"""Who the people of a history are in Vestnik: the same at every run, different for every file.

Nothing needs to be remembered for a load to be repeated: the address, name and password of a person and the
`client_message_id` of a message follow from the file. So they are as secret as the file is: for loads alone.
"""

import hashlib
import re

import msgspec

from contracts.values.visible_text import NAME

_PLAIN = re.compile(r"[0-9a-z]{1,20}")
_LONGEST_DISPLAY_NAME = 64


class Identity(msgspec.Struct, frozen=True):
    """What a person registers with."""

    email: str
    username: str
    password: str
    display_name: str


class Namespace:
    """Keeps the people and messages of one file apart from those of any other."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._short = digest[:10]

    def identity(self, person: str) -> Identity:
        """A person's registration; names that cannot be usernames are hashed, with a mark no plain name has."""
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
