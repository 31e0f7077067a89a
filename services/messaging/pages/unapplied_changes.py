"""The conversations whose rows may lack an edit, a deletion or a reaction that could not be applied.

The subject of such an event names the message, and not its conversation, which the message's row has.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping

from contracts.subjects import message
from projections.engine.read_model import Snapshot

# Ids of conversations; None: any conversation may lack a change.
Lacking = frozenset[str] | None


class UnappliedChanges:
    def __init__(self, locate: Callable[[Collection[str]], Awaitable[Mapping[str, str]]]) -> None:
        """`locate`: finds the conversations of messages, without those of messages that have no row."""
        self._locate = locate
        # The messages of the last snapshot, and their conversations: asked for again only when the messages change.
        self._last: tuple[frozenset[str], Lacking] = frozenset(), frozenset()

    async def conversations(self, snapshot: Snapshot) -> Lacking:
        messages = snapshot.missing_under(message(""))
        if not messages:
            return messages
        known, lacking = self._last
        if messages != known:
            conversations = await self._locate(messages)
            # A message without a row may be of any conversation.
            lacking = frozenset(conversations.values()) if len(conversations) == len(messages) else None
            self._last = messages, lacking
        return lacking
