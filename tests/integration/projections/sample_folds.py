"""Projections for tests that fold: what was said and read in each conversation, and messages by length.

`python -m tests.integration.projections.sample_folds NATS DATABASE` applies events until it is killed.
"""

import asyncio
import sys
from datetime import datetime
from typing import ClassVar

import msgspec
import uvloop

from contracts.envelope import Recorded
from contracts.events.message import MessageSeen, MessageSent
from contracts.subjects import MESSAGING
from infra.runtime.connections import open_pool
from projections.engine import Projection, Runners, folds
from streams.jetstream.client import Client

FORGET = "forget"
POISON = "poison for the fold"
REFUSED = "poison for the table"


class Tally(msgspec.Struct):
    """Changed in place, which a fold may do."""

    messages: int
    # The last three.
    texts: list[str]
    last_at: datetime
    note: dict[str, int] = {}


class Reader(msgspec.Struct, frozen=True):
    marks: int
    conversation_id: str


class Tallies(Projection):
    streams = (MESSAGING,)
    tables = """
        CREATE TABLE {tallies} (
            conversation_id uuid PRIMARY KEY,
            messages bigint NOT NULL,
            texts text[] NOT NULL CHECK (NOT 'poison for the table' = ANY (texts)),
            last_at timestamptz NOT NULL,
            note jsonb NOT NULL
        );
        CREATE TABLE {readers} (reader_id uuid PRIMARY KEY, marks integer NOT NULL, conversation_id uuid NOT NULL)
    """

    @folds(MessageSent, table="tallies", key="conversation_id")
    def said(self, row: Tally | None, event: Recorded[MessageSent]) -> Tally | None:
        text = event.data.text
        if text == FORGET:
            return None
        if row is None:
            row = Tally(0, [], event.at)
        row.messages += 1
        row.texts[:] = [*row.texts, text][-3:]
        row.note[text] = row.note.get(text, 0) + 1
        row.last_at = event.at
        if text == POISON:
            raise ValueError(text)
        return row

    @folds(MessageSeen, table="readers", key=lambda event: {"reader_id": event.data.reader_id})
    def seen(self, row: Reader | None, event: Recorded[MessageSeen]) -> Reader:
        if event.data.sequence == 13:
            raise ValueError("thirteen")
        return Reader((row.marks if row else 0) + 1, event.data.conversation_id)


class Number(msgspec.Struct, frozen=True):
    number: int


class ByLength(Projection):
    """Its key is unknown for an empty text."""

    streams = (MESSAGING,)
    tables = "CREATE TABLE {by_length} (length double precision PRIMARY KEY, number bigint)"
    least: ClassVar[int] = 1
    longer_by: ClassVar[int] = 0
    # The length whose row cannot be folded.
    refused: ClassVar[float | None] = None

    @folds(MessageSent, table="by_length", key=lambda event: {"length": _length(str(event.data.text))})
    def sent(self, row: Number | None, event: Recorded[MessageSent]) -> Number:
        if _length(str(event.data.text)) == self.refused:
            raise ValueError("refused")
        return Number(row.number + 1 if row else 1)


def _length(text: str) -> float:
    if len(text) < ByLength.least:
        raise ValueError("it is too short")
    return float(len(text) + ByLength.longer_by)


async def _apply(nats_url: str, database_url: str) -> None:
    nc = Client()
    await nc.connect(nats_url)
    runners = Runners([Tallies], nc, await open_pool(database_url, "folding"), database_url)
    await runners.start()
    await asyncio.wait_for(runners.watch(), None)


if __name__ == "__main__":
    uvloop.run(_apply(*sys.argv[1:3]))
