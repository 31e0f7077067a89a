"""The durable record of which keys exist: what the creation of keys reads and appends."""

from collections.abc import Collection
from functools import partial

from contracts import subjects
from contracts.envelope import Provenance
from contracts.personal_data.key_ids import owner_of
from services.auth.data_keys import domain
from services.auth.data_keys.domain import KeyRing
from streams.log import Log
from streams.repository import Repository

# Rings that are cached: a long one has megabytes, and is read again only when its person needs another key.
_CACHED = 1_000


def key_rings(log: Log) -> Repository[KeyRing]:
    return Repository(log, subject=subjects.data_keys, initial=KeyRing(), evolve=domain.evolve, capacity=_CACHED)


class RecordedKeys:
    def __init__(self, log: Log) -> None:
        # Of its own: the append of another event to a ring, under its lock, may need a key to seal it.
        self._rings = key_rings(log)

    async def known(self, key_ids: Collection[str]) -> set[str]:
        """Returns which of the keys were recorded.

        Raises:
            UserNotFound, MessageNotFound: one of them was destroyed.
        """
        known: set[str] = set()
        for user_id, ids in _by_owner(key_ids).items():
            ring = (await self._rings.load(user_id)).state
            domain.decide_create(ring, ids)
            known |= {key_id for key_id in ids if key_id in ring.created}
        return known

    async def record(self, key_ids: Collection[str]) -> None:
        """Records those of the keys that are not yet.

        Raises:
            UserNotFound, MessageNotFound: one of them was destroyed.
            Unavailable, DeadlineExceeded: it is unknown whether they are recorded.
        """
        for user_id, ids in _by_owner(key_ids).items():
            await self._rings.execute(user_id, partial(domain.decide_create, key_ids=ids), Provenance())


def _by_owner(key_ids: Collection[str]) -> dict[str, list[str]]:
    owned: dict[str, list[str]] = {}
    for key_id in key_ids:
        owner = owner_of(key_id)
        assert owner is not None
        owned.setdefault(owner, []).append(key_id)
    return owned
