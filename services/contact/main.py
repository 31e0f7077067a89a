"""Composition root of the contact service."""

from infra.runtime.service_process import service_process
from infra.settings import Settings
from projections.engine import ReadModel, Runners
from projections.registry import find, owned_by
from services.contact.clients import People
from services.contact.commands import ContactCommands
from services.contact.queries import FriendQueries
from services.contact.server import ContactServer


async def main(settings: Settings) -> None:
    async with service_process("contact", settings) as process:
        runners = Runners(owned_by("contact"), process.nats, process.pool, settings.database_url)
        await runners.start()
        try:
            queries = FriendQueries(ReadModel(find("friends"), process.pool, runners.waiting))
            people = People(queries, process.client("auth"))
            commands = ContactCommands(process.log, people, queries, most_pending=settings.pending_friend_requests)
            process.spawn(runners.watch(), "projections")
            process.ready_when(runners.ready)
            await process.serve([ContactServer(commands, queries)])
        finally:
            await runners.stop()
