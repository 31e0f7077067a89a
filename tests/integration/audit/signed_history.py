"""A notary of the tests, which signs whatever it is asked to, and an attacker who may do anything with NATS."""

import base64
from collections.abc import Callable, Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.envelope import Provenance, seal
from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from contracts.subjects import MESSAGING, tree_head
from infra.audit.notary_log import NotaryLog
from infra.audit.published_keys import Jwk, JwkSet, public_keys
from infra.audit.saved_heads import SavedHead
from infra.audit.stream_audit import audit_stream
from infra.audit.verdicts import StreamAudit
from streams.jetstream.client import Client
from streams.log import Append, Log
from streams.merkle.frontier import Frontier
from streams.merkle.leaf import MESSAGE_ID, leaf_hasher
from streams.merkle.signatures import signed
from streams.message import Message
from streams.reader import Reader
from streams.restore import ArchivedMessage, StreamRestorer, kept_headers
from streams.topology import ensure_streams

Change = Callable[[list[ArchivedMessage]], list[ArchivedMessage]]

_BATCH = 1_000


class Key:
    def __init__(self, key_id: str) -> None:
        self.id = key_id
        self.private = Ed25519PrivateKey.generate()

    @property
    def jwks(self) -> JwkSet:
        encoded = base64.urlsafe_b64encode(self.private.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return JwkSet([Jwk(kid=self.id, kty="OKP", crv="Ed25519", x=encoded)])


class SignedHistory:
    """A server's streams, and the heads that were signed of them."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.log = Log(nc)
        self.key = Key("20261201T000000Z-00000001")

    async def messages(self, stream: str = MESSAGING) -> list[Message]:
        end = await self.log.end_of(stream)
        received: list[Message] = []
        async with Reader(self.nc, stream, name="test", headers=True) as reader:
            while not received or received[-1].sequence < end:
                batch = await reader.next(5_000)
                received += batch.messages
                if batch.position >= end:
                    break
        return received

    async def head(
        self,
        size: int,
        *,
        stream: str = MESSAGING,
        tree: int = 1,
        after: int = 0,
        since: int = 0,
        leaves: Sequence[bytes] | None = None,
        key: Key | None = None,
        at: str = "2026-12-01T12:00:00.000Z",
    ) -> TreeHeadSigned:
        """A signed head of the first `size` events after a sequence.

        `since`: the size of the tree's previous head. `leaves`: instead of those of the events.
        """
        events = [message for message in await self.messages(stream) if message.sequence > after][:size]
        hashed = leaf_hasher(stream)
        if leaves is None:
            leaves = [
                hashed(event.sequence, event.subject, (event.headers or {}).get(MESSAGE_ID, ""), event.payload)
                for event in events
            ]
        frontier = Frontier()
        frontier.extend(leaves[:since])
        tiles = frontier.extend(leaves[since:size])
        return self._signed(frontier, tiles, events[-1].sequence, stream=stream, tree=tree, key=key or self.key, at=at)

    def _signed(
        self,
        frontier: Frontier,
        tiles: Sequence[bytes],
        last: int,
        *,
        stream: str,
        tree: int,
        key: Key,
        at: str = "2026-12-01T12:00:00.000Z",
    ) -> TreeHeadSigned:
        head = TreeHeadSigned(
            stream=stream,
            tree=tree,
            size=frontier.size,
            last_sequence=last,
            root=frontier.root.hex(),
            at=at,
            key_id=key.id,
            frontier=tuple(root.hex() for root in frontier.subtrees),
            tiles=tuple(root.hex() for root in tiles),
        )
        record = signed(head, key.private)
        assert isinstance(record, TreeHeadSigned)
        return record

    async def sign_leaves(self, leaves: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Stores heads of these sizes; the n-th leaf is that of sequence n."""
        frontier, before = Frontier(), 0
        for size in sizes:
            tiles = frontier.extend(leaves[before:size])
            before = size
            await self.store(self._signed(frontier, tiles, size, stream=MESSAGING, tree=1, key=self.key))

    async def close(
        self, head: TreeHeadSigned, reason: EndReason, *, next_tree: int = 2, lost: tuple[int, int] = (0, 0)
    ) -> None:
        """Ends a tree with this head; heads of the tree that cover more are void. `lost`: first and last sequence."""
        end = TreeClosed(
            stream=head.stream,
            tree=head.tree,
            size=head.size,
            last_sequence=head.last_sequence,
            root=head.root,
            at="2026-12-01T12:30:00.000Z",
            key_id=self.key.id,
            reason=reason,
            cause="a test",
            next_tree=next_tree,
            first_lost=lost[0],
            last_lost=lost[1],
        )
        await self.store(signed(end, self.key.private))

    async def store(self, record: TreeHeadSigned | TreeClosed) -> int:
        subject = tree_head(record.stream)
        last = await self.log.last(subject)
        expected, version = (last.sequence, last.envelope().version) if last else (0, 0)
        envelope = seal(record, aggregate_id=record.stream, version=version + 1, provenance=Provenance())
        return await self.log.append(Append(subject=subject, expected=expected, envelope=envelope))

    async def sign(self, *sizes: int, stream: str = MESSAGING, tree: int = 1, after: int = 0) -> TreeHeadSigned:
        """Stores heads of these sizes and returns the last."""
        since = 0
        for size in sizes:
            head = await self.head(size, stream=stream, tree=tree, after=after, since=since)
            await self.store(head)
            since = size
        return head

    async def rewrite(self, change: Change, stream: str = MESSAGING) -> list[ArchivedMessage]:
        """Replaces the stream by a changed one, as only the owner of the server can; returns what it was."""
        stored = [
            ArchivedMessage(message.subject, message.payload, kept_headers(message.headers))
            for message in await self.messages(stream)
        ]
        await self.nc.jetstream().delete_stream(stream)
        await ensure_streams(self.nc, replicas=1)
        changed = change(list(stored))
        restorer = StreamRestorer(self.nc, stream)
        for start in range(0, len(changed), _BATCH):
            await restorer.put(start + 1, changed[start : start + _BATCH])
        return stored

    async def read_heads(self, keys: JwkSet | None = None) -> NotaryLog:
        return await NotaryLog.read(self.nc, public_keys(keys or self.key.jwks))

    async def audit(
        self,
        stream: str = MESSAGING,
        *,
        saved: Sequence[TreeHeadSigned] = (),
        continue_: bool = False,
        accepted_ends: Sequence[str] = (),
        records_lost: int = 0,
    ) -> StreamAudit:
        log = await self.read_heads()
        assert log.faults == []
        kept = [SavedHead.of(head) for head in saved]
        return await audit_stream(
            self.nc,
            log.chains[stream],
            lambda done, total: None,
            saved=kept,
            continue_=continue_,
            accepted_ends=accepted_ends,
            records_lost=records_lost,
        )


def replaced(message: ArchivedMessage, **changed: object) -> ArchivedMessage:
    return msgspec.structs.replace(message, **changed)
