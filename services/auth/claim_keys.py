"""Claim keys: HMACs of e-mail addresses and usernames, so that subjects contain neither.

HMAC rather than a plain hash: addresses can be guessed, so anyone able to list subjects could find out who has an
account.
"""

import hashlib
import hmac

from contracts.values.field_types import folded_login
from contracts.values.mail_addresses import folded_text, spelled_out

_LENGTH = 32  # hex characters: 128 bits


class ClaimKeys:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def of_email(self, email: str) -> str:
        """Returns the address's key; all spellings of an address share one."""
        return self._digest("email", folded_login(email))

    def of_spellings(self, email: str) -> tuple[str, ...]:
        """Returns the keys under which the address may have been claimed, the likeliest first.

        More than one only for a non-ASCII domain: in the older form each of its spellings had a separate key.
        """
        spellings = (email, folded_login(email), spelled_out(email))
        return tuple(dict.fromkeys(self.of_text(spelling) for spelling in spellings))

    def of_text(self, email: str) -> str:
        """Returns the key of this one spelling, ignoring case."""
        return self._digest("email", folded_text(email))

    def of_mailbox(self, email: str) -> str:
        """Returns the key of the address's mailbox: a +suffix of the local part is ignored."""
        name, _, domain = folded_login(email).rpartition("@")
        return self._digest("mailbox", f"{name.partition('+')[0]}@{domain}")

    def of_username(self, username: str) -> str:
        return self._digest("username", username.lower())

    def _digest(self, kind: str, value: str) -> str:
        return hmac.new(self._key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()[:_LENGTH]
