"""Drafts: what users have begun to write, in a key-value bucket. Not events: an unsent text leaves no history.

The last writer wins. A value expires 30 days after it was written, and is lost with the bucket. It is sealed with its
author's key, so that it ends with the author. Releases until 0.3 write plain text under a key of its own, and remove it
there: whichever of the two was written or removed last counts.
"""

import logging
from collections.abc import Sequence

import msgspec
from nats.aio.client import Client as NATS

from contracts.errors import Unavailable
from contracts.personal_data.key_ids import person_key
from contracts.subjects import DRAFTS
from contracts.values.personal_data import Sealed
from streams.jetstream.key_value import KeyValue
from streams.personal_data.sealer import Sealer
from streams.personal_data.unsealer import Unsealer

log = logging.getLogger(__name__)
# Seconds for which a list of conversations waits for its drafts.
_PATIENCE = 1.0
_FIELD = "draft/text"
_SEALED = msgspec.json.Decoder(Sealed)
_NONE: tuple[int, bytes | None] = (0, None)


class Drafts:
    def __init__(self, nats: NATS, sealer: Sealer, unsealer: Unsealer) -> None:
        self._sealer = sealer
        self._unsealer = unsealer
        self._written = KeyValue(nats, DRAFTS)
        self._read = KeyValue(nats, DRAFTS, patience=_PATIENCE)

    async def save(self, user_id: str, conversation_id: str, text: str) -> None:
        """Replaces the user's draft; an empty text removes it.

        Raises:
            Unavailable: it is unknown whether the draft was saved.
            UserNotFound: the user was erased.
        """
        key = _key(user_id, conversation_id)
        sealed = await self._sealer.seal_text(person_key(user_id), _FIELD, text) if text else None
        # First, as the sealed value has to be the later one.
        if await self._written.get_many([key]):
            await self._written.delete(key)
        if sealed is None:
            await self._written.delete(_sealed(key))
        else:
            await self._written.put(_sealed(key), msgspec.json.encode(sealed))

    async def remove_of(self, user_id: str) -> None:
        """Removes all drafts of the user. Repeatable.

        Raises:
            Unavailable: some may be left.
        """
        for key in await self._written.keys(f"{user_id}.>"):
            await self._written.delete(key)

    async def of(self, user_id: str, conversation_ids: Sequence[str]) -> dict[str, str] | None:
        """The user's drafts by conversation, in one request for a page; None if they cannot be read now."""
        keys = {_key(user_id, conversation_id): conversation_id for conversation_id in conversation_ids}
        try:
            revisions = await self._read.revisions([*keys, *map(_sealed, keys)])
            plain: dict[str, str] = {}
            sealed: dict[str, Sealed] = {}
            for key, conversation_id in keys.items():
                written, value = revisions.get(_sealed(key), _NONE)
                written_plain, text = revisions.get(key, _NONE)
                if written_plain > written and text is not None:
                    plain[conversation_id] = text.decode(errors="replace")
                elif written > written_plain and value is not None:
                    sealed[conversation_id] = _SEALED.decode(value)
            texts = await self._unsealer.unseal_texts(sealed, _FIELD)
        except Unavailable as error:
            log.warning("drafts cannot be read: %s", error.__cause__ or error)
            return None
        return texts | plain


def _sealed(key: str) -> str:
    return f"{key}.sealed"


def _key(user_id: str, conversation_id: str) -> str:
    return f"{user_id}.{conversation_id}"
