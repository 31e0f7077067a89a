from dataclasses import dataclass
from hashlib import sha256

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.events.notary import EndReason, TreeClosed, TreeHeadSigned
from contracts.subjects import CONTACT, MESSAGING
from infra.audit.head_chain import HeadChain, SignedRecord
from streams.merkle.frontier import Frontier
from streams.merkle.signatures import Signed, signed

KEY = Ed25519PrivateKey.generate()
AT = "2026-12-01T12:00:00.000Z"


def frontier(size: int) -> Frontier:
    grown = Frontier()
    grown.extend(sha256(b"%d" % number).digest() for number in range(size))
    return grown


def head(size: int, *, tree: int = 1, after: int = 0, **changes: object) -> Signed:
    subtrees = tuple(root.hex() for root in frontier(size).subtrees)
    event = TreeHeadSigned(
        stream=MESSAGING,
        tree=tree,
        size=size,
        last_sequence=after + size,
        root=frontier(size).root.hex(),
        at=AT,
        key_id="key",
        frontier=subtrees,
    )
    return signed(msgspec.structs.replace(event, **changes), KEY)


def end(size: int, *, tree: int = 1, after: int = 0, next_tree: int = 2, **changes: object) -> Signed:
    event = TreeClosed(
        stream=MESSAGING,
        tree=tree,
        size=size,
        last_sequence=after + size,
        root=frontier(size).root.hex(),
        at=AT,
        key_id="key",
        reason=EndReason.RESTORE,
        cause="a test",
        next_tree=next_tree,
    )
    return signed(msgspec.structs.replace(event, **changes), KEY)


@dataclass
class Case:
    records: list[Signed]
    # The errors about the last record.
    fault: str


def chain_of(*records: Signed) -> HeadChain:
    chain = HeadChain(MESSAGING, {"key": KEY.public_key()})
    chain.extend(SignedRecord(number, record) for number, record in enumerate(records, 1))
    return chain


def test_heads_that_grow_and_trees_that_were_closed_are_one_history() -> None:
    chain = chain_of(head(3), head(8), end(5), head(2, tree=2, after=5), end(2, tree=2, after=5, next_tree=7))
    assert chain.faults == []
    first, second, third = chain.trees
    # The head of eight events is void: three of them are gone. The end itself counts as a checkpoint.
    assert [checkpoint.size for checkpoint in first.checkpoints] == [3, 5]
    assert (first.after, second.after, third.after, third.number) == (0, 5, 7, 7)
    assert [(ended.tree, void) for ended, void in chain.ends] == [(1, 3), (2, 0)]
    assert [checkpoint.size for checkpoint in second.checkpoints] == [2]
    assert (first.covers(5), first.covers(6), second.covers(6), second.covers(8), third.covers(8)) == (
        True,
        False,
        True,
        False,
        True,
    )


def test_the_end_of_an_earlier_tree_voids_the_later_ones() -> None:
    chain = chain_of(head(8), end(5), head(9, tree=2, after=5), end(3, next_tree=3), head(1, tree=3, after=3))
    assert chain.faults == []
    assert [(tree.number, tree.after, [head.size for head in tree.checkpoints]) for tree in chain.trees] == [
        (1, 0, [3]),
        (3, 3, [1]),
    ]
    # First the three events of the first tree, then two more of it and the nine of the second.
    assert [(ended.size, void) for ended, void in chain.ends] == [(5, 3), (3, 11)]
    assert {(tree, size) for tree, size, _ in chain.void} == {(1, 5), (1, 8), (2, 9)}
    assert set(chain.void.values()) == {"a test"}


def test_what_an_end_calls_lost_stays_lost_unless_a_later_restore_goes_back_before_it() -> None:
    loss = end(3, reason=EndReason.LOSS_ACCEPTED, first_lost=4, last_lost=5)
    assert chain_of(head(3), loss).lost() == [(4, 5)]
    later_end = end(6, tree=2, after=3, next_tree=3)
    assert chain_of(head(3), loss, later_end).lost() == [(4, 5)]
    assert chain_of(head(3), loss, end(1, tree=2, after=3, next_tree=3)).lost() == []


def test_a_tree_may_end_before_it_has_a_leaf() -> None:
    chain = chain_of(end(0), head(1, tree=2))
    assert (chain.faults, [tree.number for tree in chain.trees]) == ([], [1, 2])


@pytest.mark.parametrize(
    "case",
    [
        Case([head(3, stream=CONTACT)], f"is one of {CONTACT}, on the subject of {MESSAGING}"),
        Case([head(3, key_id="other")], "is signed with a key that is not published: other"),
        Case([msgspec.structs.replace(head(3), at="2026")], "has a signature that is not one by the key key"),
        Case([msgspec.structs.replace(head(3), signature="zz")], "has a signature that is not one by the key key"),
        Case([head(3, tree=2)], "is of tree 2, while tree 1 is open"),
        Case([end(3), head(4)], "is of tree 1, while tree 2 is open"),
        Case([end(3), end(1, tree=5, next_tree=6)], "is one of no tree that counts"),
        Case([head(3), head(3, root="00" * 32)], "contradicts the head of the same size in NOTARY:1: a fork"),
        Case([head(3), head(3)], "does not continue the one in NOTARY:1, which has 3 events"),
        Case([head(3), head(2)], "does not continue the one in NOTARY:1, which has 3 events"),
        Case([head(3), head(4, last_sequence=3)], "does not continue the one in NOTARY:1"),
        Case([head(3, last_sequence=2)], "cannot have 3 events after 0 up to 2"),
        Case([end(3), head(1, tree=2, last_sequence=3)], "cannot have 1 events after 3 up to 3"),
        Case([head(0)], "cannot have 0 events after 0 up to 0"),
        Case([head(3, frontier=())], "has subtrees that do not lead to its root"),
        # One that is the root itself, which three leaves do not have.
        Case([head(3, frontier=(frontier(3).root.hex(),))], "has subtrees that do not lead to its root"),
        Case([end(3), end(2, tree=2, after=2, next_tree=3)], "leaves out events of an earlier head"),
        Case([head(3, root="00" * 32)], "has subtrees that do not lead to its root"),
        Case([head(3), end(3, next_tree=1)], "begins tree 1 after tree 1"),
        Case([head(3), end(2, last_sequence=3)], "leaves out events of an earlier head that it does not void"),
        Case([head(3), end(3, root="00" * 32)], "contradicts the head of the same size in NOTARY:1: a fork"),
    ],
    ids=lambda case: case.fault,
)
def test_what_contradicts_a_signature_or_an_earlier_record_is_named(case: Case) -> None:
    assert chain_of(*case.records[:-1]).faults == []
    (fault,) = chain_of(*case.records).faults
    assert fault.startswith(f"NOTARY:{len(case.records)}: the ")
    assert case.fault in fault
