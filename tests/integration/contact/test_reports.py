"""Reports over the real stream and read model: what is left of one when its time is over."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import cast

import pytest
import pytest_asyncio

from contracts.envelope import now
from contracts.events.report import ReportedMessage
from contracts.positions import Position
from contracts.subjects import CONTACT, report
from contracts.values.ids import new_id
from infra.rpc.call_context import Call
from infra.runtime.connections import open_pool
from projections.engine import ReadModel
from projections.engine.waiting.position_waiter import PositionWaiter
from projections.reports import Reports
from services.contact.clients import People
from services.contact.reports.commands import FileReport, ReportCommands
from services.contact.reports.domain import Operator
from services.contact.reports.expiry import expire_due
from services.contact.reports.queries import ReportQueries
from streams.log import Log
from streams.message import Message
from tests.integration.service_cluster import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLGA = Operator(new_id(), "olga")


class Everyone:
    async def known(self, user_id: str) -> bool:
        return True


class OneMessage:
    async def messages(self, user_id: str, peer_id: str, message_ids: Sequence[str]) -> tuple[ReportedMessage, ...]:
        return tuple(
            ReportedMessage(message_id=message_id, sequence=1, sender_id=peer_id, sent_at=now(), text="Buy!")
            for message_id in message_ids
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def queries(house: House) -> AsyncIterator[ReportQueries]:
    """Queries on the read model that the running service fills."""
    pool = await open_pool(house.settings.database_url, "contact")
    try:
        yield ReportQueries(ReadModel(Reports, pool, PositionWaiter([Reports], house.nats, pool)))
    finally:
        await pool.close()


def commands(house: House, keep: timedelta) -> ReportCommands:
    return ReportCommands(house.log, cast(People, Everyone()), OneMessage(), keep=keep)


def new_report() -> FileReport:
    return FileReport(
        reporter_id=new_id(), reported_id=new_id(), message_ids=(new_id(),), reason="spam", comment="Daily."
    )


async def filed(reporting: ReportCommands, command: FileReport | None = None) -> str:
    command = command or new_report()
    return await reporting.file(command, Call(request_id=new_id(), actor=command.reporter_id))


async def types(house: House, report_id: str) -> list[str]:
    return [message.envelope().type for message in await house.log.read(report(report_id))]


async def test_the_texts_of_a_settled_report_expire_for_every_replica(house: House, queries: ReportQueries) -> None:
    at_once, kept = timedelta(0), timedelta(days=90)
    one, other, patient = commands(house, at_once), commands(house, at_once), commands(house, kept)
    report_id, still_open = await filed(one), await filed(one)
    call = Call(request_id=new_id(), actor=OLGA.user_id)
    seen = (await other.view(report_id, OLGA, call)).filed
    assert seen is not None
    assert (seen.comment, [message.text for message in seen.messages]) == ("Daily.", ["Buy!"])
    sequence = await one.settle(report_id, OLGA, "upheld", "Clear.", call)
    await queries.wait_for(Position.at(CONTACT, sequence))
    assert await queries.due(now() - kept, 10) == []
    # Due, although their expiry is not recorded yet.
    unrecorded = await one.view(report_id, OLGA, call)
    assert unrecorded.filed is not None
    assert (unrecorded.filed.comment, unrecorded.filed.messages) == ("", ())
    assert unrecorded.expired_at is not None

    await expire_due(patient, queries, kept)
    # The read model does not decide: it may name one whose time is not over.
    await patient.expire(report_id)
    assert (await types(house, report_id))[-1] == "report.settled"
    for _ in range(2):
        await expire_due(one, queries, at_once)
        await expire_due(other, queries, at_once)
    assert await types(house, report_id) == ["report.filed", "report.viewed", "report.settled", "report.expired"]
    for reporting in (one, other, patient):
        left = (await reporting.view(report_id, OLGA, call)).filed
        assert left is not None
        assert (left.comment, left.messages) == ("", ())
    assert await types(house, still_open) == ["report.filed"]
    end = await house.log.last_sequence(report(report_id))
    await queries.wait_for(Position.at(CONTACT, end))
    assert await queries.due(now(), 10) == []


async def test_a_report_is_repeated_after_its_settlement_without_a_look_at_every_settled_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporting, command = commands(house, timedelta(days=90)), new_report()
    identifiers: list[str] = []
    for _ in range(40):
        identifiers.append(await filed(reporting, command))
        assert await filed(reporting, command) == identifiers[-1]
        await reporting.settle(identifiers[-1], OLGA, "upheld", "", Call(request_id=new_id(), actor=OLGA.user_id))
    assert len(set(identifiers)) == len(identifiers)

    reads, last = 0, Log.last_stored

    async def counted(log: Log, subject: str) -> Message | None:
        nonlocal reads
        reads += 1
        return await last(log, subject)

    monkeypatch.setattr(Log, "last_stored", counted)
    await filed(reporting, command)
    # Of 63 at most, six steps up and five back, and the report itself.
    assert 0 < reads <= 13
