import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.merkle.frontier import TILE, Frontier
from streams.merkle.hashing import EMPTY_ROOT
from tests.leaf_data import leaf_hash
from tests.unit.streams.merkle.naive_tree import mth

# The leaves and roots by which implementations of certificate transparency are compared.
KNOWN_LEAVES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
KNOWN_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def hashes(count: int, start: int = 0) -> list[bytes]:
    return [leaf_hash(number.to_bytes(8, "big")) for number in range(start, start + count)]


def test_the_known_leaves_have_the_known_roots() -> None:
    frontier = Frontier()
    assert frontier.root == EMPTY_ROOT
    for leaf, root in zip(KNOWN_LEAVES, KNOWN_ROOTS, strict=True):
        frontier.extend([leaf_hash(bytes.fromhex(leaf))])
        assert frontier.root.hex() == root


@given(st.lists(st.integers(0, 40), max_size=6))
def test_a_tree_that_grows_in_steps_has_the_root_of_all_its_leaves(steps: list[int]) -> None:
    frontier, leaves = Frontier(), list[bytes]()
    for step in steps:
        leaves += hashes(step, start=len(leaves))
        frontier.extend(leaves[frontier.size :])
        assert frontier.size == len(leaves)
        assert frontier.root == mth(leaves)


@given(st.integers(0, 200), st.integers(0, 100))
def test_a_tree_goes_on_from_its_size_and_subtrees(before: int, after: int) -> None:
    leaves = hashes(before + after)
    first = Frontier()
    first.extend(leaves[:before])
    resumed = Frontier(first.size, first.subtrees)
    resumed.extend(leaves[before:])
    assert resumed.root == mth(leaves)


def test_a_copy_grows_alone() -> None:
    frontier = Frontier()
    frontier.extend(hashes(3))
    root = frontier.root
    copy = frontier.copy()
    copy.extend(hashes(3, start=3))
    assert (frontier.size, frontier.root) == (3, root)
    assert copy.size == 6


def test_each_completed_tile_is_returned_once() -> None:
    frontier = Frontier()
    leaves = hashes(2 * TILE + 5)
    assert frontier.extend(leaves[: TILE - 1]) == []
    assert frontier.extend(leaves[TILE - 1 : TILE]) == [mth(leaves[:TILE])]
    assert frontier.extend(leaves[TILE:]) == [mth(leaves[TILE : 2 * TILE])]


@pytest.mark.parametrize(("size", "subtrees"), [(-1, []), (3, [b"a" * 32]), (0, [b"a" * 32]), (1, [b"short"])])
def test_subtrees_that_no_tree_of_the_size_has_are_refused(size: int, subtrees: list[bytes]) -> None:
    with pytest.raises(ValueError):
        Frontier(size, subtrees)
