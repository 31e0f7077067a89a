"""What the notary signs about a stream: the heads of its Merkle trees (streams/merkle), and the ends of these trees.

Hashes and signatures are in hex. `at` is text, since the signature covers it as it is stored.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from contracts.events.event import Event
from contracts.values.timestamps import Rfc3339

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class EndReason(StrEnum):
    # An operator has accepted the loss of events.
    LOSS_ACCEPTED = "loss accepted"
    # The streams were filled from an export, and may lack what the exported system stored after it.
    IMPORT = "import"
    # An operator has restored a backup, which may lack what was stored after it.
    RESTORE = "restore"


class _Signed(Event, frozen=True, kw_only=True):
    """Signed with Ed25519 over the text of streams/merkle/signatures.py."""

    stream: str
    # The number of the stream's tree. The first is 1; a later one has the second of Unix time at which it
    # began, so that no number is used twice.
    tree: int
    # The number of leaves, and the sequence of the last one; with size 0 the sequence after which the tree begins.
    size: int
    last_sequence: int
    root: Hash
    at: Rfc3339
    # The id of the key in the published JWK set.
    key_id: str
    # 128 hex characters; empty before it is signed.
    signature: str = ""
    # What follows is for the notary, which continues from it; `state_signature` covers it, `signature` does not.
    # The causes of all ends of the stream's trees so far (`TreeClosed.cause`).
    settled: tuple[str, ...] = ()
    # The leaf's hash of the event at `last_sequence`, by which the notary recognizes it; null if that is 0.
    last_leaf: Hash | None = None
    # 128 hex characters; empty before it is signed.
    state_signature: str = ""


class TreeHeadSigned(_Signed, frozen=True, kw_only=True):
    """The notary signed a head: the size and the root of a stream's tree up to a sequence."""

    TYPE: ClassVar[str] = "tree_head.signed"
    PRIVATE: ClassVar[bool] = True
    # The sequence of the tree's first leaf; `state_signature` covers it.
    first_sequence: int = 0
    # What follows is not signed: the root proves it.
    # The roots of the perfect subtrees, largest first, from which the tree grows.
    frontier: tuple[Hash, ...] = ()
    # The roots of the tiles (perfect subtrees of 4,096 leaves) that were completed since the tree's previous head.
    tiles: tuple[Hash, ...] = ()


class TreeClosed(_Signed, frozen=True, kw_only=True):
    """A tree ends, and the next begins with the first event after its last sequence.

    Size and root are those of the part that is still stored. Earlier heads with a larger sequence are void.
    """

    TYPE: ClassVar[str] = "tree.closed"
    PRIVATE: ClassVar[bool] = True
    # One of `EndReason`.
    reason: str
    # Identifies the decision or the import that ended the tree; without line breaks.
    cause: str
    # The number of the tree that begins: larger than that of any tree of the stream before.
    next_tree: int
    # The sequences that are accepted as lost, both included; 0 for other reasons.
    first_lost: int = 0
    last_lost: int = 0
