"""Heads that an auditor kept, among those that the notary has stored: where an audit may begin, and what is gone."""

from bisect import insort
from collections.abc import Sequence
from operator import attrgetter

import msgspec
from nats.aio.client import Client

from contracts.events.notary import TreeHeadSigned
from infra.audit.head_chain import HeadChain, Tree
from infra.audit.notary_log import record_at
from infra.audit.saved_heads import SavedHead
from infra.audit.tree_check import Checkpoint
from streams.merkle.frontier import Frontier
from streams.merkle.hashing import root_of_subtrees


class Start(msgspec.Struct, frozen=True):
    """Where an audit begins: a head whose events were verified before."""

    tree: int
    last_sequence: int
    frontier: Frontier


async def start_of(nc: Client, chain: HeadChain, saved: Sequence[SavedHead]) -> Start | None:
    """Returns the latest saved head, if NOTARY has it with the subtrees that lead to its root."""
    for head in sorted(saved, key=lambda head: head.last_sequence, reverse=True):
        checkpoint = _signed_as(chain, head)
        record = await record_at(nc, checkpoint.notary_sequence) if checkpoint is not None else None
        if isinstance(record, TreeHeadSigned):
            subtrees = [bytes.fromhex(root) for root in record.frontier]
            if len(subtrees) == head.size.bit_count() and root_of_subtrees(subtrees).hex() == head.root:
                return Start(head.tree, head.last_sequence, Frontier(head.size, subtrees))
    return None


def _signed_as(chain: HeadChain, head: SavedHead) -> Checkpoint | None:
    """Returns the checkpoint of NOTARY that is the saved head."""
    tree = chain.tree(head.tree)
    for checkpoint in tree.checkpoints if tree is not None else ():
        if (checkpoint.size, checkpoint.root.hex()) == (head.size, head.root):
            return checkpoint
    return None


def trees_with(chain: HeadChain, saved: Sequence[SavedHead], faults: list[str]) -> list[Tree]:
    """Returns the trees with the saved heads as checkpoints; notes those that NOTARY has no longer."""
    trees = [msgspec.structs.replace(tree, checkpoints=list(tree.checkpoints)) for tree in chain.trees]
    by_size = {tree.number: {checkpoint.size: checkpoint for checkpoint in tree.checkpoints} for tree in trees}
    for head in saved:
        tree = next((tree for tree in trees if tree.number == head.tree), None)
        if tree is None:
            # That of a void tree is void by a signed record, which is listed.
            if head.tree not in chain.void:
                faults.append(f"{head} is of a tree that NOTARY does not have: its records were cut off or replaced")
            continue
        if tree.closed is not None and head.last_sequence > tree.closed.last_sequence:
            # Void, too.
            continue
        known = by_size[tree.number].get(head.size)
        if known is None:
            faults.append(f"{head} is not in NOTARY: its records were cut off or replaced")
            checkpoint = Checkpoint(
                size=head.size, last_sequence=head.last_sequence, root=bytes.fromhex(head.root), at=head.at
            )
            by_size[tree.number][head.size] = checkpoint
            insort(tree.checkpoints, checkpoint, key=attrgetter("size"))
        elif known.root.hex() != head.root:
            other = f"NOTARY:{known.notary_sequence}" if known.notary_sequence else "another saved head"
            faults.append(f"{head} contradicts {other}, a head of the same size: a fork")
    return trees
