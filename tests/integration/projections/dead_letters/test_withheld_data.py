"""Neither the reason of a dead letter nor the database's log contains data of its event."""

from datetime import UTC, datetime

import pytest

from contracts import subjects
from contracts.envelope import Recorded
from contracts.events.user import EmailClaimed
from contracts.positions import Position
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, handles
from tests.integration.projections.dead_letters.operator_actions import Operator, applied
from tests.integration.projections.event_writer import Opened, Writer, conversation_ids
from tests.integration.projections.sample_projection import Letters


class Claims(Projection):
    streams = (subjects.AUTH,)
    tables = "CREATE TABLE {claims} (email text PRIMARY KEY CHECK (email NOT LIKE '%secret%'), day date)"

    @handles(EmailClaimed)
    def claimed(self, event: Recorded[EmailClaimed], write: RowChanges) -> None:
        write.upsert("claims", key={"email": event.data.email}, set={"day": event.data.username})


async def test_no_error_contains_data_of_a_private_event(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Claims)
    soon = datetime(2027, 1, 1, tzinfo=UTC)
    for email, name in (("secret@example.org", "2026-01-01"), ("a@example.org", "secret"), (["secret"], "2026-01-01")):
        claim = EmailClaimed(user_id=new_id(), email=email, username=name, expires_at=soon)  # type: ignore[arg-type]  # one is wrong
        last = await writer.append(subjects.email_claim(new_id()), claim)
    await runners.waiting.wait(Claims, Position.at(subjects.AUTH, last), 60)
    reasons = [dead_letter.reason for dead_letter in await operator.dead_letters()]
    assert len(reasons) == 3
    assert "claims_v1_b1_email_check" in reasons[0]
    assert not [reason for reason in reasons if "secret" in reason]


async def test_the_reason_does_not_contain_the_refused_row(writer: Writer, run: Opened, operator: Operator) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], "poison for the table"))
    reason = (await operator.failed()).reason
    assert "check constraint" in reason
    assert "poison" not in reason


async def test_the_log_of_the_database_does_not_contain_the_refused_row(
    writer: Writer, run: Opened, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runners = await run(Letters)
    await applied(runners, await writer.say(conversation_ids(1)[0], "poison for the table"))
    await operator.failed()
    [log] = tmp_path_factory.getbasetemp().glob("postgres[0-9]/server.log")
    lines = log.read_text()
    assert "violates check constraint" in lines
    assert "poison for the table" not in lines
