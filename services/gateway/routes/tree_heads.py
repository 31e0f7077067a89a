"""The route of the signed tree heads, for outsiders who keep them (docs/explanation/audit.md)."""

import msgspec

from contracts.errors import NotFound, Unavailable
from contracts.rpc.vestnik.notary.v1 import TreeHead
from contracts.values.timestamps import Rfc3339
from services.gateway.cache.tree_heads import LIFETIME
from services.gateway.http.endpoint import (
    AnyEndpoint,
    AppliedLimit,
    DocumentedResponse,
    Endpoint,
    NoBody,
    NoQuery,
    Request,
    Response,
)
from services.gateway.limits import policies


class SignedHead(msgspec.Struct, frozen=True):
    """The latest head of a stream's tree."""

    stream: str
    # Leaves: the events that the head covers.
    size: int
    # In hex.
    root: str
    at: Rfc3339
    # Of the key in `keys`.
    key_id: str
    # Ed25519, in hex.
    signature: str
    # The number of the stream's tree, from 1.
    tree: int
    # The sequence of the last event that it covers.
    last_sequence: int


class PublicKey(msgspec.Struct, frozen=True):
    """A JWK (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class KeySet(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517) of all keys that have ever signed heads."""

    keys: list[PublicKey]


class SignedHeads(msgspec.Struct, frozen=True):
    items: list[SignedHead]
    keys: KeySet


_KEYS = msgspec.json.Decoder(KeySet)


async def heads(incoming: Request[NoQuery, NoBody]) -> Response:
    latest = await incoming.context.heads.latest()
    body = SignedHeads([_head(head) for head in latest.heads], _KEYS.decode(latest.jwks))
    return Response(body=body, headers={"cache-control": f"public, max-age={LIFETIME}"})


def _head(head: TreeHead) -> SignedHead:
    return SignedHead(
        stream=head.stream,
        size=head.size,
        root=head.root,
        at=head.at,
        key_id=head.key_id,
        signature=head.signature,
        tree=head.tree,
        last_sequence=head.last_sequence,
    )


ROUTES: tuple[AnyEndpoint, ...] = (
    Endpoint(
        method="GET",
        path="/.well-known/vestnik/heads",
        tag="Operation",
        summary="The latest signed tree head of each stream",
        description="With a saved answer one can later prove that an event was altered, dropped, inserted or moved "
        "that a head of it covers. A stream without events, or whose tree has just begun, has no item.",
        handler=heads,
        query=NoQuery,
        body=NoBody,
        answers={200: DocumentedResponse(description="The heads, and the keys to verify them with.", body=SignedHeads)},
        errors=(NotFound, Unavailable),
        limits=(AppliedLimit(limit=policies.TREE_HEADS_ADDRESS),),
        public=True,
    ),
)
