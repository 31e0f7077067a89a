"""One node alone pays nothing: no stream, no append, no evidence."""

from nats.aio.client import Client as NATS

from contracts.subjects import QUORUM
from infra.runtime.quorum import quorum_of_process
from infra.settings import Settings
from streams.topology import ensure_quorum


async def test_one_node_alone_needs_no_evidence_and_no_stream_for_it(nats: NATS) -> None:
    assert await quorum_of_process(Settings(), nats, "contact") is None
    await ensure_quorum(nats, replicas=1)
    assert QUORUM not in [info.config.name for info in await nats.jetstream().streams_info()]
