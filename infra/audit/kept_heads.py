"""Heads that an auditor kept, among those that the notary has stored: where an audit may begin, and what is gone."""

from bisect import insort
from collections.abc import Collection, Sequence
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
    """The start of an audit: a head whose events were verified before."""

    tree: int
    checkpoint: Checkpoint
    frontier: Frontier


async def start_of(nc: Client, chain: HeadChain, saved: Sequence[SavedHead]) -> Start | None:
    """Returns the latest saved head, if NOTARY has it with the subtrees that lead to its root."""
    for head in sorted(saved, key=lambda head: head.last_sequence, reverse=True):
        checkpoint = _signed_as(chain, head)
        if checkpoint is None:
            continue
        record = await record_at(nc, checkpoint.notary_sequence)
        if isinstance(record, TreeHeadSigned):
            subtrees = [bytes.fromhex(root) for root in record.frontier]
            if len(subtrees) == head.size.bit_count() and root_of_subtrees(subtrees).hex() == head.root:
                return Start(head.tree, checkpoint, Frontier(head.size, subtrees))
    return None


def _signed_as(chain: HeadChain, head: SavedHead) -> Checkpoint | None:
    """Returns the checkpoint of NOTARY that is the saved head."""
    tree = chain.tree(head.tree)
    checkpoint = None if tree is None else tree.of_size(head.size)
    return checkpoint if checkpoint is not None and checkpoint.root.hex() == head.root else None


class Kept(msgspec.Struct, frozen=True):
    """The trees with the heads that an auditor kept, and what is to be said about these heads."""

    trees: list[Tree]
    # Whether heads may lack by an accepted loss of records of NOTARY.
    heads_lost: bool
    faults: list[str]
    # Voided by ends that the auditor accepts, or lost with records of NOTARY whose loss was accepted.
    accepted: list[str]


def with_saved(
    chain: HeadChain, saved: Sequence[SavedHead], *, accepted_ends: Collection[str] = (), records_lost: int = 0
) -> Kept:
    """Adds the saved heads to the trees as checkpoints.

    `accepted_ends`: causes of ends of trees that may void saved heads. `records_lost`: events of NOTARY whose loss was
    accepted: a saved head may be among them, and the events alone tell whether it is one of theirs.
    """
    trees = [msgspec.structs.replace(tree, checkpoints=list(tree.checkpoints)) for tree in chain.trees]
    kept = Kept(trees, records_lost > 0, [], [])
    for head in saved:
        root = bytes.fromhex(head.root)
        if (cause := chain.void.get((head.tree, head.size, root))) is not None:
            what = f"{head} is void, because its tree was ended: {cause}"
            if cause in accepted_ends:
                kept.accepted.append(what)
            else:
                kept.faults.append(f"{what}. If you know of that end: --accept-end '{cause}'")
            continue
        tree = next((tree for tree in trees if tree.number == head.tree), None)
        if tree is None:
            kept.faults.append(f"{head} is of a tree that NOTARY does not have: its records were cut off or replaced")
            continue
        known = tree.of_size(head.size)
        if known is not None and known.root == root:
            continue
        if known is not None:
            other = f"NOTARY:{known.notary_sequence}" if known.notary_sequence else "another saved head"
            kept.faults.append(f"{head} contradicts {other}, a head of the same size: a fork")
            continue
        if tree.closed is not None and head.last_sequence > tree.closed.last_sequence:
            what = f"{head} is not in NOTARY, not even among those that the end of its tree has voided"
            if tree.closed.cause in accepted_ends:
                kept.accepted.append(what)
            else:
                kept.faults.append(f"{what}. If you know of that end: --accept-end '{tree.closed.cause}'")
            continue
        if records_lost:
            kept.accepted.append(
                f"{head} is not in NOTARY, which has lost {records_lost:,} records; the loss is accepted"
            )
        else:
            kept.faults.append(f"{head} is not in NOTARY: its records were cut off or replaced")
        checkpoint = Checkpoint(size=head.size, last_sequence=head.last_sequence, root=root, at=head.at)
        insort(tree.checkpoints, checkpoint, key=attrgetter("size"))
    return kept
