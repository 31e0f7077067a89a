"""Events of real sizes: chat messages in their envelopes, ten in each conversation, written through the log itself."""

import gzip
import random
from functools import cache
from pathlib import Path

from contracts.envelope import Provenance, seal
from contracts.events.message import MessageSent
from contracts.subjects import conversation
from contracts.values.ids import new_id
from streams.log import Append, Log

EVENTS_A_CONVERSATION = 10
_AT_ONCE = 1_000
HISTORY = Path(__file__).resolve().parents[3] / "shared" / "data" / "messages.tsv.gz"
# Where no recorded history is at hand: its median and its mean length.
_MEDIAN, _MEAN = 49, 60


@cache
def texts() -> list[str]:
    """Texts of chat messages: those of a recorded history beside the project, or as long as those are."""
    if HISTORY.exists():
        with gzip.open(HISTORY, "rt", encoding="utf-8") as lines:
            return [line.rstrip("\n").split("\t", 3)[3] for line in lines][1:]
    chance = random.Random(7)
    lengths = [max(1, min(400, int(chance.lognormvariate(3.9, 0.64)))) for _ in range(10_000)]
    return ["".join(chance.choices("abcdefgh ijklm nopqr stu vwxyz", k=length)) for length in lengths]


def message(version: int, text: str, sender: str, recipient: str) -> MessageSent:
    return MessageSent(
        message_id=new_id(),
        sender_id=sender,
        recipient_id=recipient,
        sequence=version,
        text=text,
        client_message_id=new_id(),
    )


def provenance(actor: str) -> Provenance:
    return Provenance(actor=actor, correlation_id=new_id(), traceparent="00-" + new_id().replace("-", "") + "-0-01")


async def seed(log: Log, count: int) -> list[str]:
    """Appends the given number of events, a multiple of 10,000; returns their conversations."""
    conversations: list[str] = []
    lines = texts()
    number = 0
    while number < count:
        people = [(new_id(), new_id(), new_id()) for _ in range(_AT_ONCE)]
        expected = [0] * _AT_ONCE
        for version in range(1, EVENTS_A_CONVERSATION + 1):
            page: list[Append] = []
            for (one, sender, recipient), last in zip(people, expected, strict=True):
                event = message(version, lines[number % len(lines)], sender, recipient)
                envelope = seal(event, aggregate_id=one, version=version, provenance=provenance(sender))
                page.append(Append(subject=conversation(one), expected=last, envelope=envelope))
                number += 1
            expected = await log.append_together(page)
        conversations += [one for one, _, _ in people]
    return conversations
