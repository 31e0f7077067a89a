"""Decoy event: recorded when a requested mail is not due, as durably as a real request.

The caller is answered once the event is on disk, so neither the time taken nor a failure reveals whether the address
has an account. Each decoy has its own subject, so that concurrent requests do not wait for each other.
"""

from contracts.envelope import Provenance
from contracts.values.ids import new_id
from services.auth import domain
from services.auth.mail.mailbox_budgets import Mailbox
from services.auth.repositories import Aggregates
from streams.repository import LoadedAggregate


async def record_decoy(aggregates: Aggregates, kind: str, provenance: Provenance) -> None:
    """
    Raises:
        The errors of `Log.append`.
    """
    nothing_before: LoadedAggregate[Mailbox] = LoadedAggregate(state=Mailbox(), sequence=0, version=0)
    events = domain.decide_record_not_due(kind)
    (append,) = aggregates.mails.appends(new_id(), nothing_before, events, provenance)
    await aggregates.log.append(append)
