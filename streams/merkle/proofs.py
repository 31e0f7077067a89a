"""Inclusion and consistency proofs (RFC 9162, sections 2.1.3.1 and 2.1.4.1)."""

from collections.abc import Callable

from streams.merkle.hashing import node_hash

# The root of the perfect subtree (level, index), which has 2^level leaves from index * 2^level on.
Node = Callable[[int, int], bytes]


def inclusion_path(index: int, size: int, node: Node) -> list[bytes]:
    """The proof that the tree of the first `size` leaves has the leaf at `index`, counted from 0.

    Raises:
        ValueError: it has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has none at {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_root(middle, end, node))
            end = middle
        else:
            path.append(_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency_path(old: int, size: int, node: Node) -> list[bytes]:
    """The proof that the tree of the first `size` leaves begins with the tree of the first `old` leaves.

    Raises:
        ValueError: `old` is not from 1 to `size`.
    """
    if not 0 < old <= size:
        raise ValueError(f"no proof from a tree of {old} leaves to one of {size}")
    path: list[bytes] = []
    start, end = 0, size
    # Whether the old tree itself is a node of the path so far: then its root is known to the verifier.
    is_whole = True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_root(middle, end, node))
            end = middle
        else:
            path.append(_root(start, middle, node))
            start = middle
            is_whole = False
    if not is_whole:
        path.append(_root(start, end, node))
    return path[::-1]


def _root(start: int, end: int, node: Node) -> bytes:
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_root(start, middle, node), _root(middle, end, node))


def _split(count: int) -> int:
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1
