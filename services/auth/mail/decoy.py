"""A mail that was asked for and that nobody is to get: stored as durably as one that is.

Who asks is answered when it is on disk, and learns neither by the time that takes nor by its failure whether the
address is somebody's. The subject is one that nothing else is on, so that no two such requests wait for each other.
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
        what appending any other event raises.
    """
    nothing_before: LoadedAggregate[Mailbox] = LoadedAggregate(state=Mailbox(), sequence=0, version=0)
    events = domain.decide_record_not_due(kind)
    (append,) = aggregates.mails.appends(new_id(), nothing_before, events, provenance)
    await aggregates.log.append(append)
