"""Composition root of the contact service."""

from datetime import timedelta

from infra.runtime.service_process import service_process
from infra.settings import Settings
from projections.engine import ReadModel, Runners
from projections.engine.erased_users import ErasedUsers
from projections.engine.read_servers import read_servers
from projections.registry import find, owned_by
from services.contact import reads
from services.contact.clients import People
from services.contact.commands import ContactCommands
from services.contact.queries import FriendQueries
from services.contact.reports.clients import MessagingConversations
from services.contact.reports.commands import ReportCommands
from services.contact.reports.expiry import expire_reports
from services.contact.reports.queries import ReportQueries
from services.contact.requests.domain import RequestTerms
from services.contact.requests.process import FriendRequestProcess
from services.contact.requests.queries import DeadlineQueries
from services.contact.server import ContactServer


async def main(settings: Settings) -> None:
    async with service_process("contact", settings) as process:
        runners = Runners(owned_by("contact"), process.nats, process.pool, settings.database_url)
        await runners.start()
        try:
            queries = FriendQueries(ReadModel(find("friends"), process.pool, runners.waiting))
            reports = ReportQueries(ReadModel(find("reports"), process.pool, runners.waiting))
            erased = ErasedUsers(process.nats, ReadModel(find("friends"), process.pool, runners.waiting))
            people = People(queries, process.client("auth"), erased)
            commands = ContactCommands(process.log, people, queries, most_pending=settings.pending_friend_requests)
            keep = timedelta(days=settings.report_days)
            conversations = MessagingConversations(process.client("messaging"))
            reporting = ReportCommands(process.log, people, conversations, keep=keep)
            terms = RequestTerms.of_days(settings.friend_request_remind_days, settings.friend_request_cancel_days)
            deadlines = DeadlineQueries(ReadModel(find("friend_request_deadlines"), process.pool, runners.waiting))
            requests = FriendRequestProcess(process.log, deadlines, terms)
            process.spawn(runners.watch(), "projections")
            process.spawn(erased.follow(), "erased users")
            process.spawn(requests.run(), "deadlines of friend requests")
            process.spawn(expire_reports(reporting, reports, keep), "expiry of reports")
            process.ready_when(runners.ready)
            shown = read_servers(reads, lambda name: ReadModel(find(name), process.pool, runners.waiting))
            await process.serve([ContactServer(commands, queries, reporting, reports), *shown])
        finally:
            await runners.stop()
