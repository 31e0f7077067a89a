"""A compact set of digests: whatever was added is in it."""

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.deduplication.digest_set import DigestSet, digest

DIGESTS = st.integers(min_value=0, max_value=2**32 - 1)


@given(st.lists(st.one_of(DIGESTS, st.lists(DIGESTS, max_size=200)), max_size=300), st.lists(DIGESTS))
def test_digests_hold_what_was_added_and_nothing_else(added: list[int | list[int]], others: list[int]) -> None:
    digests = DigestSet()
    expected: set[int] = set()
    for item in added:
        if isinstance(item, int):
            digests.add(item)
            expected.add(item)
        else:
            digests.update(item)
            expected.update(item)
    assert all(value in digests for value in expected)
    assert all((value in digests) == (value in expected) for value in others)
    assert len(digests) >= len(expected)


def test_a_digest_has_32_bits_and_distinguishes_senders() -> None:
    assert 0 <= digest("anna", "id1") < 2**32
    assert digest("anna", "id1") == digest("anna", "id1")
    assert len({digest(sender, f"id{number}") for sender in ("anna", "ben") for number in range(100)}) > 190
