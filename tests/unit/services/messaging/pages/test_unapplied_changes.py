"""A change that could not be applied concerns the conversation of its message alone, if that is known."""

from collections.abc import Collection, Mapping

from contracts.positions import Position
from contracts.subjects import conversation, message
from projections.engine.read_model import Snapshot
from services.messaging.pages.unapplied_changes import UnappliedChanges


def snapshot(*subjects: str) -> Snapshot:
    return Snapshot("build", Position(), frozenset(subjects))


async def test_conversations_are_looked_up_when_the_messages_change() -> None:
    located: list[Collection[str]] = []

    async def locate(messages: Collection[str]) -> Mapping[str, str]:
        located.append(messages)
        return {"m1": "c1", "m2": "c2"} if "m2" in messages else {"m1": "c1"}

    changes = UnappliedChanges(locate)
    assert await changes.conversations(snapshot()) == frozenset()
    assert await changes.conversations(snapshot(conversation("c9"))) == frozenset()
    assert located == []
    for _ in range(2):
        assert await changes.conversations(snapshot(message("m1"), conversation("c9"))) == frozenset({"c1"})
    assert await changes.conversations(snapshot(message("m1"), message("m2"))) == frozenset({"c1", "c2"})
    assert await changes.conversations(snapshot()) == frozenset()
    assert located == [{"m1"}, {"m1", "m2"}]


async def test_a_message_without_a_row_and_too_many_dead_letters_concern_every_conversation() -> None:
    async def locate(messages: Collection[str]) -> Mapping[str, str]:
        return {"m1": "c1"}

    changes = UnappliedChanges(locate)
    assert await changes.conversations(snapshot(message("m1"), message("gone"))) is None
    assert await changes.conversations(Snapshot("build", Position(), None)) is None
