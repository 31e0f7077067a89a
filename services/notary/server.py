"""gRPC server of the notary."""

from contracts.events.notary import TreeHeadSigned
from contracts.rpc.vestnik.notary.v1 import LatestHeadsRequest, LatestHeadsResponse, NotaryServiceBase, TreeHead
from contracts.subjects import NOTARIZED
from infra.security.notary.keys import NotaryKeys
from services.notary.tree_log import RecordInvalid, TreeLog


class NotaryServer(NotaryServiceBase):
    def __init__(self, trees: TreeLog, keys: NotaryKeys) -> None:
        self._trees = trees
        self._keys = keys

    async def latest_heads(self, message: LatestHeadsRequest) -> LatestHeadsResponse:
        heads: list[TreeHead] = []
        for stream in NOTARIZED:
            try:
                record = (await self._trees.last(stream)).record
            except RecordInvalid:
                # Reported by the notary of this stream; the others have their heads.
                continue
            if isinstance(record, TreeHeadSigned):
                heads.append(
                    TreeHead(
                        stream=record.stream,
                        tree=record.tree,
                        size=record.size,
                        last_sequence=record.last_sequence,
                        root=record.root,
                        at=record.at,
                        key_id=record.key_id,
                        signature=record.signature,
                    )
                )
        return LatestHeadsResponse(heads=heads, jwks=self._keys.jwks.decode())
