"""The list of dead letters and its filters, and why a letter cannot be retried."""

import pytest

from contracts import subjects
from projections.engine.dead_letters import resolution
from projections.engine.dead_letters.outcomes import BlockedByEarlier, OtherVersion
from projections.engine.dead_letters.queries import NoSuchLetter
from tests.integration.projections.dead_letters.operator_actions import Operator, applied
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import POISON, Letters


async def test_what_cannot_be_settled_is_refused_with_its_reason(
    writer: Writer, run: Opened, operator: Operator
) -> None:
    class Newer(Letters):
        name = "letters"
        version = 2

    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], POISON, "b"))
    failed, parked = await operator.dead_letters()
    with pytest.raises(BlockedByEarlier, match=str(failed.id)):
        await resolution.retryable_letter(operator.conn, parked.id)
    with pytest.raises(NoSuchLetter):
        await resolution.retryable_letter(operator.conn, failed.id._replace(sequence=99))
    with pytest.raises(NoSuchLetter, match="build 7 of version 1 does not exist"):
        await resolution.retryable_letter(operator.conn, failed.id._replace(build=7))
    with pytest.raises(OtherVersion):
        await resolution.retry(operator.conn, operator.log, Newer, failed)
    assert (failed.waiting, parked.waiting, parked.head) == (1, None, failed.id)


async def test_letters_are_listed_by_type_state_and_aggregate(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    one, other = conversation_ids(2)
    await writer.say(one, POISON, "b")
    await applied(runners, await writer.say(other, POISON))
    assert [dead_letter.subject for dead_letter in await operator.dead_letters(aggregate_id=other)] == [
        subjects.conversation(other)
    ]
    assert len(await operator.dead_letters(state="failed")) == 2
    assert len(await operator.dead_letters(event_type="message.sent")) == 3
    assert await operator.dead_letters(event_type="message.seen") == []
    # No pattern, but the very text.
    assert await operator.dead_letters(aggregate_id="%") == []
