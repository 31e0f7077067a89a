from hypothesis import given
from hypothesis import strategies as st

from streams.merkle.hashing import EMPTY_ROOT
from streams.merkle.verification import includes, is_consistent
from tests.leaf_data import leaf_hash
from tests.unit.streams.merkle.naive_tree import mth, path, proof
from tests.unit.streams.merkle.test_frontier import hashes

SIZES = st.integers(1, 70)


@given(SIZES, st.data())
def test_a_path_proves_its_leaf_at_its_index_and_nothing_else(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    index = data.draw(st.integers(0, size - 1))
    root, siblings = mth(leaves), path(index, leaves)
    assert includes(leaves[index], index, size, siblings, root)
    assert not includes(leaf_hash(b"another"), index, size, siblings, root)
    assert not includes(leaves[index], index, size, [*siblings, root], root)
    assert not includes(leaves[index], index, size, siblings, leaf_hash(b"another"))
    other_index = data.draw(st.integers(-1, size))
    if other_index != index:
        assert not includes(leaves[index], other_index, size, siblings, root)
    if siblings:
        assert not includes(leaves[index], index, size, siblings[:-1], root)
        changed = data.draw(st.integers(0, len(siblings) - 1))
        assert not includes(leaves[index], index, size, replaced(siblings, changed), root)


@given(SIZES, st.data())
def test_a_proof_holds_between_a_tree_and_its_beginning_alone(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    old = data.draw(st.integers(1, size))
    old_root, root, nodes = mth(leaves[:old]), mth(leaves), proof(old, leaves)
    assert is_consistent(old, old_root, size, root, nodes)
    another = leaf_hash(b"another")
    assert not is_consistent(old, another, size, root, nodes)
    assert not is_consistent(old, old_root, size, another, nodes)
    assert not is_consistent(old, old_root, size, root, [*nodes, another])
    if nodes:
        assert not is_consistent(old, old_root, size, root, nodes[:-1])
        changed = data.draw(st.integers(0, len(nodes) - 1))
        assert not is_consistent(old, old_root, size, root, replaced(nodes, changed))


@given(SIZES, st.data())
def test_a_tree_with_one_leaf_altered_is_no_continuation(size: int, data: st.DataObject) -> None:
    leaves = hashes(size)
    old = data.draw(st.integers(1, size))
    forged = list(leaves)
    forged[data.draw(st.integers(0, old - 1))] = leaf_hash(b"another")
    assert not is_consistent(old, mth(leaves[:old]), size, mth(forged), proof(old, forged))


def test_every_tree_continues_the_empty_one() -> None:
    root = mth(hashes(5))
    assert is_consistent(0, EMPTY_ROOT, 5, root, [])
    assert is_consistent(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not is_consistent(0, root, 5, root, [])
    assert not is_consistent(6, root, 5, root, [])


def replaced(nodes: list[bytes], index: int) -> list[bytes]:
    return [*nodes[:index], leaf_hash(b"another"), *nodes[index + 1 :]]
