"""The search in a user's own messages: finds them, and marks the terms in their current texts."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import msgspec

from contracts.messages import FoundMessage, MessageItem
from contracts.positions import Position
from contracts.values.text_words import segments
from services.messaging.search.queries import FoundRow, SearchCursor, SearchQueries, cursor_after
from services.messaging.search.terms import highlights, parse_query, stemmed_words

# Characters of the texts on a page: marking the terms in long texts takes the process's time.
_MOST_CHARACTERS = 20_000
# Characters of texts after which other tasks have their turn.
_CHARACTERS_IN_A_ROW = 2_000


class MessageSearch:
    def __init__(self, queries: SearchQueries) -> None:
        self._queries = queries

    async def search(
        self,
        user_id: str,
        peer_id: str | None,
        query: str,
        position: Position,
        *,
        limit: int,
        after: SearchCursor | None,
        best: bool = False,
    ) -> tuple[bytes, SearchCursor | None, Position]:
        """Returns a page of the messages that contain all terms of the query, as a JSON array of `FoundMessage`.

        Newest first; `best`: of the newest 200, those with the most whole words of the query first.
        `peer_id`: searches the conversation with this user alone. A query without terms finds nothing. A page may have
        fewer messages than the limit although more follow: it ends after 20,000 characters of text, and a message that
        was changed just now is left out.

        Raises:
            ReadModelBehind: a read model has not reached the position in time, or is being built.
            Unavailable: the database does not answer.
        """
        terms = parse_query(query)
        if not terms:
            return b"[]", None, position
        await self._queries.wait_for(position)
        stems = await self._queries.stems(stemmed_words(terms))
        hits, reached = await self._queries.hits(
            user_id, peer_id, terms, stems, limit=limit + 1, after=after, best=best
        )
        page = hits.page
        if not page:
            return b"[]", None, reached
        rows, shown = await self._queries.messages(user_id, page[:limit], reached)
        rows, last = _bounded(rows, min(limit, len(page)))
        # A word and its stem begin with the same letter.
        initials = frozenset(term.text[0] for term in terms if not term.spaceless)
        texts = [segments(row.text, initials) async for row in _with_pauses(rows)]
        stems = await self._queries.stems(stemmed_words(terms, texts))
        remaining = iter(texts)
        items = [
            # The database has encoded the message.
            FoundMessage(row.peer_id, cast(MessageItem, msgspec.Raw(row.item.encode())), marks)
            async for row in _with_pauses(rows)
            if (marks := highlights(row.text, next(remaining), terms, stems)) is not None
        ]
        more = cursor_after(page[last - 1], hits, best=best) if last < len(page) else None
        return msgspec.json.encode(items), more, shown


async def _with_pauses(rows: list[FoundRow]) -> AsyncIterator[FoundRow]:
    """The rows, with a pause for other tasks after each 2,000 characters of their texts, some tenths of a ms."""
    characters = 0
    for row in rows:
        yield row
        characters += len(row.text)
        if characters >= _CHARACTERS_IN_A_ROW:
            characters = 0
            await asyncio.sleep(0)


def _bounded(rows: list[FoundRow], last: int) -> tuple[list[FoundRow], int]:
    """The first rows, up to the bound of the page, and the number of the last hit that they cover."""
    characters = 0
    for index, row in enumerate(rows):
        characters += len(row.text)
        if characters > _MOST_CHARACTERS and index:
            return rows[:index], rows[index - 1].number
    return rows, last
