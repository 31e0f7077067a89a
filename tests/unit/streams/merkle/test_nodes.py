import pytest

from streams.merkle.frontier import TILE, Frontier
from streams.merkle.nodes import Nodes
from streams.merkle.proofs import consistency_path, inclusion_path
from streams.merkle.verification import includes, is_consistent
from tests.unit.streams.merkle.test_frontier import hashes

LEAVES = hashes(2 * TILE + 100)


def test_a_proof_needs_the_tiles_the_leafs_own_tile_and_the_last_one() -> None:
    frontier = Frontier()
    tiles = frontier.extend(LEAVES)
    size = len(LEAVES)
    nodes = Nodes(tiles, {1: LEAVES[TILE : 2 * TILE], 2: LEAVES[2 * TILE :]})
    for index in (TILE, TILE + 77, 2 * TILE - 1, 2 * TILE, size - 1):
        assert includes(LEAVES[index], index, size, inclusion_path(index, size, nodes), frontier.root)
    old = Frontier()
    old.extend(LEAVES[: TILE + 50])
    path = consistency_path(old.size, size, nodes)
    assert is_consistent(old.size, old.root, size, frontier.root, path)


def test_a_node_of_unknown_leaves_is_an_error() -> None:
    tiles = Frontier().extend(LEAVES)
    with pytest.raises(LookupError):
        inclusion_path(5, len(LEAVES), Nodes(tiles, {2: LEAVES[2 * TILE :]}))
    with pytest.raises(LookupError):
        consistency_path(TILE, 3 * TILE, Nodes(tiles, {2: LEAVES[2 * TILE :]}))
