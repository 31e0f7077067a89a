from streams.merkle.hashing import EMPTY_ROOT, node_hash, root_of_subtrees
from tests.leaf_data import leaf_hash


def test_the_empty_tree_the_empty_leaf_and_a_node_have_the_known_hashes() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    both = node_hash(leaf_hash(b""), leaf_hash(b"\x00"))
    assert both.hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"


def test_subtrees_are_joined_from_the_right() -> None:
    large, middle, small = (leaf_hash(bytes([number])) for number in range(3))
    assert root_of_subtrees([large, middle, small]) == node_hash(large, node_hash(middle, small))
    assert root_of_subtrees([large]) == large
    assert root_of_subtrees([]) == EMPTY_ROOT
