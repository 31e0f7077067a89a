"""Drafts: what users have begun to write, in a key-value bucket. Not events: an unsent text leaves no history.

The last writer wins. A value expires 30 days after it was written, and is lost with the bucket.
"""

import logging
from collections.abc import Sequence

from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.subjects import DRAFTS
from streams.jetstream.key_value import KeyValue

log = logging.getLogger(__name__)
# Seconds for which a list of conversations waits for its drafts.
_PATIENCE = 1.0


class Drafts:
    def __init__(self, nats: NATS) -> None:
        self._written = KeyValue(nats, DRAFTS)
        self._read = KeyValue(nats, DRAFTS, patience=_PATIENCE)

    async def save(self, user_id: str, conversation_id: str, text: str) -> None:
        """Replaces the user's draft; an empty text removes it.

        Raises:
            Unavailable: it is unknown whether the draft was saved.
        """
        key = _key(user_id, conversation_id)
        if text:
            await self._written.put(key, text.encode())
        else:
            await self._written.delete(key)

    async def remove_of(self, user_id: str) -> None:
        """Removes all drafts of the user. Repeatable.

        Raises:
            Unavailable: some may be left.
        """
        for key in await self._written.keys(f"{user_id}.*"):
            await self._written.delete(key)

    async def of(self, user_id: str, conversation_ids: Sequence[str]) -> dict[str, str] | None:
        """The user's drafts by conversation, in one request for a page; None if they cannot be read now."""
        keys = {_key(user_id, conversation_id): conversation_id for conversation_id in conversation_ids}
        try:
            values = await self._read.get_many(keys)
        except Unavailable as error:
            log.warning("drafts cannot be read: %s", error.__cause__ or error)
            return None
        return {keys[key]: value.decode(errors="replace") for key, value in values.items()}


def _key(user_id: str, conversation_id: str) -> str:
    return f"{user_id}.{conversation_id}"
