"""A record of keys in the test's memory, for tests of the store alone."""

from collections.abc import Collection


class Recorded:
    """As RecordedKeys of auth, for keys of which none was destroyed."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    async def known(self, key_ids: Collection[str]) -> set[str]:
        return self.keys.intersection(key_ids)

    async def record(self, key_ids: Collection[str]) -> None:
        self.keys.update(key_ids)
