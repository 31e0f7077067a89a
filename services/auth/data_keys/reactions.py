"""Reaction to the end of keys: destroys them in the store, until that is done."""

import asyncio

from contracts.durable_consumers import DATA_KEY_DESTRUCTION
from contracts.envelope import Recorded
from contracts.events.data_keys import DataKeysDestroyed
from streams.personal_data.keys.destruction import KeyDestruction
from streams.reactions.reaction import Reaction, reacts_to
from streams.reactions.retries import Retries

# Keys of a person that are destroyed at the same time.
_AT_ONCE = 20


class KeyDestructions(Reaction):
    durable = DATA_KEY_DESTRUCTION
    # An outage of the store, however long, must not keep a key that is to be destroyed.
    retries = Retries(tries_in_outage=100_000)

    def __init__(self, destruction: KeyDestruction) -> None:
        self._destruction = destruction

    @reacts_to(DataKeysDestroyed)
    async def destroy(self, event: Recorded[DataKeysDestroyed]) -> None:
        """
        Raises:
            KeysUnavailable: the store does not answer.
        """
        if not event.data.key_ids:
            await self._destruction.destroy_person(event.aggregate_id)
        key_ids = event.data.key_ids
        for first in range(0, len(key_ids), _AT_ONCE):
            await asyncio.gather(*map(self._destruction.destroy, key_ids[first : first + _AT_ONCE]))
