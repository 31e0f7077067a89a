"""Reactions to a request for a copy of one's data: make the file, then mail that it is ready.

Each attempt makes a file of its own, and the first that is recorded counts: a process that ends in between leaves parts
that nothing names and that expire.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from contracts import envelope
from contracts.durable_consumers import DATA_EXPORT_MAILS, DATA_EXPORT_MAKING
from contracts.envelope import Provenance, Recorded
from contracts.errors import Unavailable, UserNotFound
from contracts.events.data_export import DataExportMade, DataExportRequested
from contracts.positions import Position
from contracts.values.timestamps import rfc3339
from services.auth.alerts.recipients import Recipients
from services.auth.data_export import domain
from services.auth.data_export.archive import Archive
from services.auth.data_export.clients import Item, OwnData, Services
from services.auth.data_export.contents import Contents
from services.auth.data_export.store import FileStore, FileWriter, TooLarge
from services.auth.failures.queries import FailureQueries
from services.auth.mail.delivery import Delivery
from services.auth.mail.mailbox_budgets import DATA_EXPORT_MAIL
from services.auth.mail.templates import Mail
from services.auth.mail.texts import language_of
from services.auth.queries import Queries
from services.auth.repositories import Aggregates
from streams.reactions.reaction import Reaction, reacts_to
from streams.reactions.retries import Retries

log = logging.getLogger(__name__)
# Failed logins in a copy, the newest ones.
_MOST_FAILURES = 10_000


class DataExportMaking(Reaction):
    durable = DATA_EXPORT_MAKING
    # Each reads and compresses as fast as it can.
    at_once = 2

    def __init__(
        self,
        aggregates: Aggregates,
        store: FileStore,
        services: Services,
        users: Queries,
        failures: FailureQueries,
        recipients: Recipients,
        *,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        self._exports = aggregates.data_exports
        self._accounts = aggregates.users
        self._store = store
        self._services = services
        self._users = users
        self._failures = failures
        self._recipients = recipients
        self._clock = clock

    @reacts_to(DataExportRequested)
    async def make(self, event: Recorded[DataExportRequested]) -> None:
        user_id, export_id = event.aggregate_id, event.data.export_id
        if not domain.is_wanted((await self._exports.load(user_id)).state, export_id, self._clock()):
            return
        provenance = Provenance.caused_by(event)
        file = self._store.new_file(user_id)
        try:
            await self._write(file, event)
        except (TooLarge, UserNotFound) as error:
            reason = domain.TOO_LARGE if isinstance(error, TooLarge) else domain.NO_ACCOUNT
            await self._exports.execute(
                user_id, lambda state: domain.decide_fail(state, export_id, reason, self._clock()), provenance
            )
            await _discard(file)
            return
        except Exception:
            await _discard(file)
            raise
        made = DataExportMade(export_id=export_id, file_id=file.file_id, parts=file.parts, size=file.size)
        outcome = await self._exports.execute(
            user_id, lambda state: domain.decide_made(state, made, self._clock()), provenance
        )
        # Of an account that was erased meanwhile no one else removes it.
        if not outcome.events or (await self._accounts.load(user_id)).state.is_gone(self._clock()):
            await _discard(file)

    async def _write(self, file: FileWriter, event: Recorded[DataExportRequested]) -> None:
        made_at, user_id = self._clock(), event.aggregate_id
        data, archive = OwnData(self._services, event), Archive(file, made_at)
        try:
            seen = Position.decode(event.data.position)
            user, profile = await self._users.own_user(user_id, seen), await data.profile()
            account: Item = {
                "user_id": user_id,
                "username": user.username,
                "email": user.email,
                "email_verified": user.email_verified,
                "created_at": rfc3339(user.created_at),
                "totp": user.totp,
            }
            rows = await self._failures.of_user(user_id, since=None, before=None, limit=_MOST_FAILURES)
            failed_logins: list[Item] = [
                {
                    "at": rfc3339(row.at),
                    "reason": row.reason,
                    "device": row.device or "",
                    "address": row.address or "",
                    "count": row.count,
                    "since": rfc3339(row.since),
                }
                for row in rows
            ]
            language = profile["language"] or (await self._recipients.of(user_id, seen))[0].language
            contents = Contents(archive, data, language_of(language))
            await contents.write(event.data.export_id, account, profile, failed_logins, made_at)
            await archive.finish()
        except BaseException:
            archive.abandon()
            raise


async def _discard(file: FileWriter) -> None:
    # What is left expires.
    with suppress(Unavailable):
        await file.discard()


class DataExportMails(Reaction):
    """Mails the owner of the account once the file can be downloaded. The mail links to the page, not to the file."""

    durable = DATA_EXPORT_MAILS
    retries = Retries(tries_in_outage=2_000)

    def __init__(
        self,
        aggregates: Aggregates,
        recipients: Recipients,
        delivery: Delivery,
        *,
        page: str,
        clock: Callable[[], datetime] = envelope.now,
    ) -> None:
        """`page`: URL of the messenger's page."""
        self._exports = aggregates.data_exports
        self._accounts = aggregates.users
        self._recipients = recipients
        self._delivery = delivery
        self._page = page.rstrip("/")
        self._clock = clock

    @reacts_to(DataExportMade)
    async def mail(self, event: Recorded[DataExportMade]) -> None:
        """
        Raises:
            RetryLater: the mail could not be handed over, or the address is not known yet.
            VestnikError: a read model does not answer.
            ValueError: the recipient is not a valid address.
        """
        exports = (await self._exports.load(event.aggregate_id)).state.recent
        state = next(
            (export.state_at(self._clock()) for export in exports if export.export_id == event.data.export_id), ""
        )
        if state != "ready" or (await self._accounts.load(event.aggregate_id)).state.is_gone(self._clock()):
            return
        recipient, *_ = await self._recipients.of(event.aggregate_id, Position.at(event.stream, event.sequence))
        mail = Mail(
            event_id=event.id,
            asked_at=event.at,
            recipient=recipient.email,
            username=recipient.username,
            kind=DATA_EXPORT_MAIL,
            user_ids=(event.aggregate_id,),
            language=recipient.language,
            link=f"{self._page}/#/settings/data",
        )
        await self._delivery.deliver(mail, Provenance.caused_by(event))
