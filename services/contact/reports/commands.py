"""Load, decide, append: files, views, settles and expires reports."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import Invalid, UserNotFound, Violation
from contracts.events.report import ReportFiled
from contracts.subjects import report
from contracts.values.ids import report_id
from infra.rpc.call_context import Call
from services.contact.clients import People
from services.contact.reports.clients import Conversations
from services.contact.reports.domain import (
    Operator,
    Report,
    decide_expire,
    decide_file,
    decide_settle,
    decide_view,
    evolve,
    without_due_texts,
)
from streams.log import Log
from streams.repository import Repository

# Reports kept in memory: one may have 20 messages of 4,000 characters.
_CAPACITY = 100


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    reporter_id: str
    reported_id: str
    message_ids: Sequence[str]
    reason: str
    comment: str


class ReportCommands:
    def __init__(
        self,
        log: Log,
        people: People,
        conversations: Conversations,
        *,
        keep: timedelta,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`keep`: how long texts are shown after the settlement."""
        self._reports: Repository[Report] = Repository(
            log, subject=report, initial=Report(), evolve=evolve, capacity=_CAPACITY
        )
        self._people = people
        self._conversations = conversations
        self._keep = keep
        self._clock = clock

    async def file(self, command: FileReport, call: Call) -> str:
        """Files a report with the messages as the reporter reads them now. Returns its id.

        The same user, messages and reason again: that report while it is open, with its first comment; afterwards a
        new one.

        Raises:
            UserNotFound: there is no such user, or none with a verified address.
            MessageNotFound: the conversation of the two has no such message.
            Invalid: both are the same person.
        """
        if command.reporter_id == command.reported_id:
            raise Invalid(violations=(Violation("/user_id", "must be another user"),))
        for user_id in (command.reporter_id, command.reported_id):
            if not await self._people.known(user_id):
                raise UserNotFound
        messages = await self._conversations.messages(command.reporter_id, command.reported_id, command.message_ids)
        filed = ReportFiled(
            reporter_id=command.reporter_id,
            reported_id=command.reported_id,
            reason=command.reason,
            comment=command.comment,
            messages=messages,
        )
        while True:
            identifier = _identifier(command, await self._first_unsettled(command))
            outcome = await self._reports.execute(
                identifier, lambda state: decide_file(state, filed), call.provenance()
            )
            # It may have been settled in between.
            if outcome.state.settlement is None:
                return identifier

    async def _first_unsettled(self, command: FileReport) -> int:
        """The first repetition that is not settled. One is filed after the one before was settled: bisection finds it.

        The number of reads grows with the logarithm of the number of repetitions.
        """
        settled, unsettled = -1, 0
        while await self._is_settled(command, unsettled):
            settled, unsettled = unsettled, 2 * unsettled + 1
        while unsettled - settled > 1:
            middle = (settled + unsettled) // 2
            if await self._is_settled(command, middle):
                settled = middle
            else:
                unsettled = middle
        return unsettled

    async def _is_settled(self, command: FileReport, repetition: int) -> bool:
        return (await self._reports.load(_identifier(command, repetition))).state.settlement is not None

    async def filed(self, identifier: str) -> Report:
        """Returns the report for its reporter; without its texts once they are due."""
        return without_due_texts((await self._reports.load(identifier)).state, self._clock(), self._keep)

    async def view(self, identifier: str, operator: Operator, call: Call) -> Report:
        """Returns the report, and records that the operator was shown its texts; without them once they are due.

        Raises:
            NotFound: there is no such report.
        """
        now = self._clock()
        outcome = await self._reports.execute(
            identifier,
            lambda state: decide_view(without_due_texts(state, now, self._keep), operator),
            call.provenance(),
        )
        return without_due_texts(outcome.state, now, self._keep)

    async def settle(self, identifier: str, operator: Operator, outcome: str, note: str, call: Call) -> int:
        """Settles the report. Returns the sequence in CONTACT.

        Raises:
            NotFound: there is no such report.
            ReportSettled: it was settled, by another operator or in another way.
        """
        return (
            await self._reports.execute(
                identifier, lambda state: decide_settle(state, operator, outcome, note), call.provenance()
            )
        ).sequence

    async def expire(self, identifier: str) -> None:
        """Ends the showing of the report's texts if their time is over."""
        await self._reports.execute(
            identifier, lambda state: decide_expire(state, self._clock(), self._keep), Provenance()
        )


def _identifier(command: FileReport, repetition: int) -> str:
    return report_id(command.reporter_id, command.reported_id, command.reason, command.message_ids, repetition)
