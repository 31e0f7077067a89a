import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.merkle.nodes import Nodes
from streams.merkle.proofs import consistency_path, inclusion_path
from tests.leaf_data import leaf_hash
from tests.unit.streams.merkle import naive_tree
from tests.unit.streams.merkle.test_frontier import hashes


@given(st.integers(1, 120), st.data())
def test_an_inclusion_path_is_that_of_the_definition(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    assert inclusion_path(index, size, Nodes([], {0: leaves})) == naive_tree.path(index, leaves)


@given(st.integers(1, 120), st.data())
def test_a_consistency_path_is_that_of_the_definition(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    old = data.draw(st.integers(1, size))
    assert consistency_path(old, size, Nodes([], {0: leaves})) == naive_tree.proof(old, leaves)


def test_the_example_of_the_rfc_has_its_paths() -> None:
    # Section 2.1.5: a tree of seven leaves d0 to d6.
    d = hashes(7)
    nodes = Nodes([], {0: d})
    a, b, c = nodes(1, 0), nodes(1, 1), nodes(1, 2)
    g, h = a, b
    k, j, i, l = nodes(2, 0), d[6], c, naive_tree.mth(d[4:])  # noqa: E741
    assert inclusion_path(0, 7, nodes) == [d[1], h, l]
    assert inclusion_path(3, 7, nodes) == [d[2], g, l]
    assert inclusion_path(4, 7, nodes) == [d[5], j, k]
    assert inclusion_path(6, 7, nodes) == [i, k]
    assert consistency_path(3, 7, nodes) == [d[2], d[3], g, l]
    assert consistency_path(4, 7, nodes) == [l]
    assert consistency_path(6, 7, nodes) == [i, j, k]


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_path_of_a_leaf_outside_of_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError):
        inclusion_path(index, size, Nodes([], {0: [leaf_hash(b"")] * 3}))


@pytest.mark.parametrize(("old", "size"), [(0, 3), (4, 3)])
def test_there_is_no_proof_from_an_empty_or_a_larger_tree(old: int, size: int) -> None:
    with pytest.raises(ValueError):
        consistency_path(old, size, Nodes([], {0: [leaf_hash(b"")] * 3}))
