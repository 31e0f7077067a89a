"""A page of long texts is marked with pauses in which the process serves other requests."""

import asyncio
from collections.abc import Collection
from typing import cast

from contracts.positions import Position
from services.messaging.search.queries import FoundRow, Hit, Hits, SearchQueries
from services.messaging.search.search import MessageSearch

ROWS = 5
TEXT = "a b c " * 400


class Rows:
    """A page of rows without any waiting: all pauses are those of the search."""

    async def wait_for(self, position: Position) -> None:
        return

    async def stems(self, words: Collection[str]) -> dict[str, str]:
        return {}

    async def hits(self, *arguments: object, **named: object) -> tuple[Hits, Position]:
        hits = [Hit("b", number, number, 0) for number in range(ROWS)]
        return Hits(hits, hits[0]), Position()

    async def messages(self, *arguments: object) -> tuple[list[FoundRow], Position]:
        return [FoundRow(number, "b", TEXT, "{}") for number in range(1, ROWS + 1)], Position()


async def test_other_tasks_run_between_long_texts_that_are_split_and_that_are_marked() -> None:
    search = MessageSearch(cast(SearchQueries, Rows()))
    searching = asyncio.create_task(search.search("a", None, "a b", Position(), limit=ROWS, after=None))
    turns = 0
    while not searching.done():
        await asyncio.sleep(0)
        turns += 1
    assert searching.result()[0].count(b"highlights") == ROWS
    assert turns >= 2 * ROWS
