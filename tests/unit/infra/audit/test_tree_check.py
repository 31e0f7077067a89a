from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.audit.tree_check import Checkpoint, TreeCheck
from streams.merkle.frontier import TILE, Frontier


def leaf(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


AT = "2026-12-01T12:00:00.000Z"


def frontier_of(leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.subtrees


def signed(leaves: Sequence[bytes], sizes: Sequence[int]) -> list[Checkpoint]:
    """The heads at these sizes; leaf n has the sequence 2n + 1."""
    frontier, checkpoints, before = Frontier(), list[Checkpoint](), 0
    for size in sizes:
        tiles = frontier.extend(leaves[before:size])
        before = size
        checkpoints.append(
            Checkpoint(size=size, last_sequence=2 * size - 1, root=frontier.root, at=AT, tiles=tuple(tiles))
        )
    return checkpoints


def checked(checkpoints: Sequence[Checkpoint], leaves: Sequence[bytes], cuts: Sequence[int] = ()) -> TreeCheck:
    """The check of leaves that arrive in batches."""
    check = TreeCheck(checkpoints, Frontier())
    for start, end in zip((0, *cuts), (*cuts, len(leaves)), strict=True):
        check.add([2 * number + 1 for number in range(start, end)], leaves[start:end])
    return check


SIZES = st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted)


@given(st.data(), SIZES)
def test_leaves_that_were_signed_agree_with_every_head(data: st.DataObject, sizes: list[int]) -> None:
    leaves = [leaf(number) for number in range(data.draw(st.integers(sizes[-1], 70)))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(leaves)))))
    check = checked(signed(leaves, sizes), leaves, cuts)
    assert (check.is_done, check.broken, check.faults, check.size) == (True, None, [], sizes[-1])
    assert check.agreed is not None
    assert check.agreed.size == sizes[-1]


@given(st.data(), SIZES, st.sampled_from(["altered", "dropped", "inserted", "swapped"]))
def test_the_first_difference_is_in_the_range_that_is_named(data: st.DataObject, sizes: list[int], how: str) -> None:
    leaves = [leaf(number) for number in range(sizes[-1])]
    index = data.draw(st.integers(0, sizes[-1] - 1))
    stored = list(leaves)
    match how:
        case "altered":
            stored[index] = leaf(1_000)
        case "dropped":
            del stored[index]
            # What would otherwise be an end before the last head.
            stored.append(leaf(1_001))
        case "inserted":
            stored.insert(index, leaf(1_000))
        case "swapped":
            other = data.draw(st.integers(0, sizes[-1] - 1))
            stored[index], stored[other] = stored[other], stored[index]
            index = min(index, other)
            if other == index and stored == leaves:
                return
    check = checked(signed(leaves, sizes), stored)
    assert check.broken is not None
    difference = check.locate(frontier_of(leaves[: check.broken.size]))
    after = next(size for size in sizes if size > index)
    before = max((size for size in sizes if size <= index), default=0)
    assert difference.checkpoint.size == after
    assert not difference.is_fork
    assert 2 * before + 1 <= difference.first <= 2 * index + 1 <= difference.last <= 2 * after - 1
    # The frontier of the head narrows it to one perfect subtree.
    assert (difference.last - difference.first) // 2 < 1 << after.bit_length() - 1


def test_a_stream_that_ends_before_a_head_leaves_that_head_expected() -> None:
    leaves = [leaf(number) for number in range(9)]
    check = checked(signed(leaves, [4, 9]), leaves[:8])
    assert (check.is_done, check.broken, check.size) == (False, None, 8)
    assert check.expected is not None
    assert check.expected.size == 9


def test_the_tiles_of_a_head_narrow_a_difference_to_one_of_them() -> None:
    leaves = [leaf(number) for number in range(3 * TILE + 5)]
    stored = list(leaves)
    stored[TILE + 7] = leaf(-1)
    heads = signed(leaves, [100, len(leaves)])
    difference = checked(heads, stored).locate(frontier_of(leaves))
    assert (difference.first, difference.last) == (2 * TILE + 1, 4 * TILE - 1)
    # Tiles that do not lead to the root are not believed.
    forged = msgspec.structs.replace(heads[1], tiles=(leaf(-2), *(heads[1].tiles or ())[1:]))
    difference = checked([heads[0], forged], stored).locate(frontier_of(leaves))
    assert (difference.first, difference.last) == (201, 4 * TILE - 1)
    # Nor are subtrees: then the range is that between the two heads.
    for frontier in ((), (leaf(-1), leaf(-2), leaf(-3), leaf(-4))):
        difference = checked(heads, stored).locate(frontier)
        assert (difference.first, difference.last) == (201, 2 * len(leaves) - 1)


def test_the_tiles_of_a_lost_head_are_no_fault_of_the_next_one() -> None:
    leaves = [leaf(number) for number in range(4 * TILE)]
    heads = signed(leaves, [TILE, 3 * TILE, 3 * TILE + 1, 4 * TILE])
    for lost_heads in ([0], [1], [0, 1], [0, 1, 2]):
        check = TreeCheck(
            [head for number, head in enumerate(heads) if number not in lost_heads], Frontier(), heads_lost=True
        )
        check.add([2 * number + 1 for number in range(len(leaves))], leaves)
        assert (check.is_done, check.broken, check.faults) == (True, None, []), lost_heads
    forged = msgspec.structs.replace(heads[1], tiles=(leaf(0), leaf(1)))
    check = TreeCheck([forged], Frontier(), heads_lost=True)
    check.add([2 * number + 1 for number in range(3 * TILE)], leaves[: 3 * TILE])
    assert len(check.faults) == 1


@pytest.mark.parametrize("changed", [{"tiles": (leaf(1),)}, {"last_sequence": 3}])
def test_what_a_head_says_beside_its_root_is_checked_too(changed: dict[str, object]) -> None:
    leaves = [leaf(number) for number in range(9)]
    first, second = signed(leaves, [4, 9])
    check = checked([first, msgspec.structs.replace(second, **changed)], leaves)
    assert check.is_done
    assert check.broken is None
    assert len(check.faults) == 1
    assert check.faults[0].startswith("the head of 9 events ")


def test_a_head_that_contradicts_an_earlier_one_is_a_fork() -> None:
    leaves = [leaf(number) for number in range(24)]
    other = [leaf(-1), *leaves[1:]]
    difference = checked([signed(leaves, [16])[0], signed(other, [24])[0]], leaves).locate(frontier_of(other))
    assert difference.is_fork
    assert (difference.first, difference.last) == (33, 47)


def test_a_check_goes_on_from_a_trusted_frontier() -> None:
    leaves = [leaf(number) for number in range(2 * TILE)]
    start = Frontier()
    start.extend(leaves[:7])
    heads = signed(leaves, [7, 100, 2 * TILE])[1:]
    check = TreeCheck(heads, start)
    check.add([2 * number + 1 for number in range(7, len(leaves))], leaves[7:])
    assert (check.is_done, check.broken, check.faults) == (True, None, [])
