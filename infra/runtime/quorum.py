"""Evidence that a process's NATS node is part of a quorum, where the streams have replicas."""

from nats.aio.client import Client as NATS

from contracts.subjects import quorum_of
from contracts.values.ids import new_id
from infra.settings import Settings
from streams.quorum import Quorum
from streams.topology import Placement, ensure_quorum


async def quorum_of_process(settings: Settings, nats: NATS, party: str) -> Quorum | None:
    """Creates the quorum stream if needed, for `Quorum.run` to gather evidence with. None with a single replica.

    Raises:
        StreamForbidden: the stream does not exist, and this party may not create it.
        DangerousStream, Refused, Unavailable: as `ensure_streams`.
    """
    if settings.stream_replicas == 1:
        return None
    placement = Placement.parse(settings.stream_placement)
    await ensure_quorum(nats, replicas=settings.stream_replicas, placement=placement)
    return Quorum(nats, quorum_of(party, new_id()))
