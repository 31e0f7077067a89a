"""Keys in memory, and which of them were requested."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.errors import KeysUnavailable


class Keys:
    """Finds the keys that it was made with; a None is a destroyed key, any other id cannot be had."""

    def __init__(self, **keys: AESGCM | None) -> None:
        self.keys = keys
        self.requests: list[set[str]] = []

    async def find(self, key_ids: set[str], /) -> dict[str, AESGCM | None]:
        self.requests.append(key_ids)
        if not key_ids <= self.keys.keys():
            raise KeysUnavailable
        return {key_id: self.keys[key_id] for key_id in key_ids}
