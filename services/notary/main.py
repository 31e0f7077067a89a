"""Entry point of the notary: it follows every stream but its own, and signs heads of their trees into NOTARY."""

from pathlib import Path

from contracts.services import NOTARY
from contracts.subjects import NOTARIZED
from infra.runtime.service_process import service_process
from infra.settings import Settings
from services.notary.publication import Publication
from services.notary.server import NotaryServer
from services.notary.stream_notary import StreamNotary
from services.notary.tree_log import TreeLog


async def main(settings: Settings) -> None:
    async with service_process(NOTARY, settings) as process:
        keys = process.secrets.notary_keys()
        trees = TreeLog(process.nats, process.log, keys)
        for stream in NOTARIZED:
            notary = StreamNotary(process.nats, stream, trees, interval=settings.head_seconds)
            process.spawn(notary.run(), f"notary of {stream}")
        if settings.heads_folder:
            publication = Publication(process.nats, Path(settings.heads_folder), keys)
            process.spawn(publication.run(), "publication of heads")
        await process.serve([NotaryServer(trees, keys)])
