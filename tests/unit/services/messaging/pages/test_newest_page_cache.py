"""Cached pages: cut to the requested size, bounded in bytes, used only at the position that they were built from."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.pages.newest_page_cache import NewestPage, NewestPages
from services.messaging.pages.queries import SEPARATOR, NewestRow


def page(sequences: list[int], changed: int = 1, text: str = "x") -> NewestPage:
    items = SEPARATOR.join(msgspec.json.encode({"sequence": sequence, "text": text}).decode() for sequence in sequences)
    return NewestPage(
        NewestRow(
            turn=1,
            open=True,
            conversation_id="c",
            changed=changed,
            erased=0,
            items=items.encode() or None,
            sequences=" ".join(map(str, sequences)) or None,
        )
    )


@given(st.integers(0, 51), st.integers(1, 50), st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_cut_has_the_newest_and_says_whether_there_are_more(count: int, limit: int, text: str) -> None:
    sequences = list(range(count, 0, -1))
    cut = page(sequences, text=text).cut(limit)
    assert msgspec.json.decode(cut.items) == [{"sequence": sequence, "text": text} for sequence in sequences[:limit]]
    assert cut.last == (sequences[:limit][-1] if sequences else 0)
    assert cut.more == (count > limit)


def test_a_page_is_found_only_in_its_build_and_at_its_last_event() -> None:
    pages, cached = NewestPages(), page([1], changed=7)
    pages.put("build", "c", cached)
    assert pages.get("build", "c", 7) is cached
    assert pages.get("build", "c", 8) is None
    assert pages.get("build", "d", 7) is None
    assert pages.get("another", "c", 7) is None


def test_another_build_begins_with_nothing() -> None:
    pages = NewestPages()
    pages.put("build", "c", page([1]))
    pages.put("another", "d", page([1]))
    assert pages.get("build", "c", 1) is None
    assert len(pages) == 1
    assert pages.bytes == page([1]).size


def test_the_least_recently_read_page_is_evicted_first_and_the_bytes_stay_within_their_bound() -> None:
    size = page([1]).size
    pages = NewestPages(most_bytes=3 * size)
    for name in "abc":
        pages.put("build", name, page([1]))
    assert pages.get("build", "a", 1) is not None
    pages.put("build", "d", page([1]))
    assert [name for name in "abcd" if pages.get("build", name, 1)] == ["a", "c", "d"]
    pages.put("build", "a", page([1], changed=2))
    assert (len(pages), pages.bytes) == (3, 3 * size)


def test_a_page_larger_than_the_bound_is_not_kept() -> None:
    pages = NewestPages(most_bytes=10)
    pages.put("build", "c", page([1]))
    assert (len(pages), pages.bytes) == (0, 0)
