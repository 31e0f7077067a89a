from datetime import UTC, datetime, timedelta

import msgspec

from contracts.events.notary import EndReason, TreeClosed
from contracts.subjects import AUTH, lost_in, user
from services.notary.endings import Ending
from services.notary.tree import Tree
from streams.merkle.frontier import Frontier
from streams.message import Message
from tests.leaf_data import leaf_data, leaf_hash

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def event(sequence: int) -> Message:
    return Message(AUTH, sequence, user(str(sequence)), b"{}", headers={"Nats-Msg-Id": f"id-{sequence}"})


def leaf(sequence: int) -> bytes:
    return leaf_hash(leaf_data(AUTH, sequence, user(str(sequence)), f"id-{sequence}", b"{}"))


def root_of(*sequences: int) -> str:
    frontier = Frontier()
    frontier.extend(map(leaf, sequences))
    return frontier.root.hex()


def test_a_head_has_the_root_of_the_events_and_what_the_next_tree_needs() -> None:
    tree = Tree(AUTH, None)
    tree.extend(map(event, (1, 2, 3)), 3)
    head = tree.head(AT, "k")
    assert (head.stream, head.tree, head.size, head.first_sequence, head.last_sequence) == (AUTH, 1, 3, 1, 3)
    assert head.root == root_of(1, 2, 3)
    assert head.last_leaf == leaf(3).hex()
    assert head.at == "2026-01-31T12:00:00.000Z"
    resumed = Tree(AUTH, head)
    assert (resumed.position, resumed.unsigned) == (3, 0)
    resumed.extend([event(4)], 4)
    assert resumed.unsigned == 1
    assert resumed.head(AT, "k").root == root_of(1, 2, 3, 4)
    assert resumed.head(AT, "k").first_sequence == 1


def test_placeholders_and_gaps_have_no_leaf_but_are_read() -> None:
    tree = Tree(AUTH, None)
    placeholder = msgspec.structs.replace(event(2), subject=lost_in(AUTH))
    tree.extend([event(1), placeholder, event(5), msgspec.structs.replace(event(6), subject=lost_in(AUTH))], 6)
    head = tree.head(AT, "k")
    assert (head.size, head.last_sequence, tree.position) == (2, 5, 6)
    assert head.root == root_of(1, 5)


def test_a_tile_is_in_the_next_head_alone() -> None:
    tree = Tree(AUTH, None)
    tree.extend(map(event, range(1, 4_097)), 4_096)
    tiles = tree.head(AT, "k").tiles
    assert tiles == (tree.head(AT, "k").root,)
    tree.was_signed()
    assert tree.head(AT, "k").tiles == ()


def test_the_next_tree_begins_behind_the_end_of_the_last_one() -> None:
    current = Tree(AUTH, None)
    current.extend(map(event, range(1, 9)), 8)
    part = Tree(AUTH, None)
    part.extend(map(event, range(1, 6)), 5)
    end = part.end(Ending(EndReason.LOSS_ACCEPTED, "loss 6-8", 6, 8), current, AT, "k")
    assert isinstance(end, TreeClosed)
    assert (end.tree, end.size, end.last_sequence, end.next_tree) == (1, 5, 5, int(AT.timestamp()))
    assert end.last_leaf == leaf(5).hex()
    assert (end.first_lost, end.last_lost, end.settled) == (6, 8, ("loss 6-8",))
    following = Tree(AUTH, end)
    assert (following.number, following.size, following.position) == (end.next_tree, 0, 5)
    assert following.last_leaf == leaf(5)
    following.extend([event(9)], 9)
    head = following.head(AT, "k")
    assert (head.tree, head.first_sequence, head.settled) == (end.next_tree, 9, ("loss 6-8",))
    assert head.root == root_of(9)


def test_the_number_of_a_tree_does_not_come_again_after_a_restored_copy() -> None:
    ending = Ending(EndReason.LOSS_ACCEPTED, "loss 6-8", 6, 8)
    current = Tree(AUTH, None)
    first = current.end(ending, current, AT, "k").next_tree
    # The copy has no record of that end, and the tree ends for another reason later.
    assert current.end(ending, current, AT + timedelta(seconds=1), "k").next_tree > first
    # Within one second the numbers still grow.
    following = Tree(AUTH, current.end(ending, current, AT, "k"))
    assert following.end(ending, following, AT, "k").next_tree == first + 1
