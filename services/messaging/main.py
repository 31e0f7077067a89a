"""Composition root of the messaging service."""

from datetime import timedelta

from infra.runtime.service_process import service_process
from infra.settings import Settings
from projections.engine import ReadModel, Runners
from projections.engine.erased_users import ErasedUsers
from projections.engine.read_servers import read_servers
from projections.registry import find, owned_by
from services.messaging import reads
from services.messaging.backfill.queries import BackfillQueries
from services.messaging.changes.commands import ChangeCommands, last_changes, message_repository
from services.messaging.clients import FriendshipCache, Friendships
from services.messaging.closed.queries import ClosedMessageQueries
from services.messaging.commands import SeenCommands, SendCommands
from services.messaging.message_copies import MessageCopies
from services.messaging.message_lookup import MessageLookup
from services.messaging.notifications.commands import NotificationCommands
from services.messaging.notifications.queries import NotificationQueries
from services.messaging.pages.page_reader import PageReader
from services.messaging.pages.queries import PageQueries
from services.messaging.queries import MessageQueries
from services.messaging.reactions import confirm_end, follow_friendships
from services.messaging.retention.process import MessageRetention
from services.messaging.retention.queries import AgedMessageQueries
from services.messaging.search.queries import SearchQueries
from services.messaging.search.search import MessageSearch
from services.messaging.server import MessagingServer
from services.messaging.settings.commands import SettingsCommands
from services.messaging.settings.drafts import Drafts
from streams.personal_data.keys.ahead import KeysAhead


async def main(settings: Settings) -> None:
    async with service_process("messaging", settings) as process:
        runners = Runners(owned_by("messaging"), process.nats, process.pool, settings.database_url)
        await runners.start()
        try:
            conversations = ReadModel(find("conversations"), process.pool, runners.waiting)
            messages, pages = MessageQueries(conversations), PageReader(PageQueries(conversations))
            aged = AgedMessageQueries(conversations)
            notifications = NotificationQueries(ReadModel(find("notifications"), process.pool, runners.waiting))
            search = MessageSearch(
                SearchQueries(ReadModel(find("message_search"), process.pool, runners.waiting), conversations)
            )
            remembered = FriendshipCache(process.quorum)
            drafts = Drafts(process.nats, process.sealer, process.unsealer)
            erased = ErasedUsers(process.nats, conversations)
            friendships = Friendships(process.client("contact"), remembered, erased)
            lookup, changed = MessageLookup(process.log, messages), message_repository(process.log)
            # Its states have texts. Whose they are it does not say, and this is done once a second at most.
            erased.listen(lambda users: changed.forget_all())
            erased.listen(lambda users: pages.pages.clear())
            sending = SendCommands(process.log, friendships, messages, lookup, changed)
            erased.listen(sending.erase)
            server = MessagingServer(
                sending=sending,
                seeing=SeenCommands(process.log, friendships, sending),
                changing=ChangeCommands(
                    process.log,
                    friendships,
                    lookup,
                    changed,
                    edit_window=timedelta(hours=settings.edit_window_hours),
                    delete_window=timedelta(hours=settings.delete_window_hours) or None,
                ),
                reading=NotificationCommands(process.log, notifications),
                messages=messages,
                notifications=notifications,
                pages=pages,
                settings=SettingsCommands(process.log, friendships, drafts),
                drafts=drafts,
                search=search,
                copies=MessageCopies(messages, lookup),
                missed=BackfillQueries(conversations),
                log=process.log,
                aged=aged,
                closed=ClosedMessageQueries(conversations),
            )
            ahead = KeysAhead(process.sealer.create)
            process.sealer.listen(ahead.used)
            process.spawn(ahead.run(), "keys of new conversations and of the next month")
            process.spawn(
                follow_friendships(process.nats, process.log, remembered, ahead.opened), "friendship follower"
            )
            if process.quorum is not None:
                process.spawn(confirm_end(process.log, remembered), "end of friendships")
            if settings.message_retention_days:
                keep = timedelta(days=settings.message_retention_days)
                retention = MessageRetention(last_changes(process.log), aged, keep)
                process.spawn(retention.run(), "retention of messages")
            process.spawn(erased.follow(), "erased users")
            process.spawn(runners.watch(), "projections")
            process.ready_when(runners.ready)
            try:
                shown = read_servers(reads, lambda name: ReadModel(find(name), process.pool, runners.waiting))
                await process.serve([server, *shown])
            finally:
                await pages.stop()
        finally:
            await runners.stop()
