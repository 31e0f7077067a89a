"""The cache is bounded and evicts the least recently used entry."""

from hypothesis import given
from hypothesis import strategies as st

from streams.lru_cache import LruCache

STEPS = st.lists(st.tuples(st.sampled_from("pgkd"), st.sampled_from("abcdefg"), st.integers(0, 4)))


@given(STEPS, st.integers(1, 8), st.booleans())
def test_it_holds_the_most_recently_used_entries(
    steps: list[tuple[str, str, int]], capacity: int, weighed: bool
) -> None:
    evicted: list[tuple[str, int]] = []
    cache: LruCache[str, int] = LruCache(
        capacity,
        weigh=(lambda value: value) if weighed else None,
        on_evict=lambda key, value: evicted.append((key, value)),
    )
    # In the order of their use.
    model: dict[str, int] = {}
    gone: list[tuple[str, int]] = []

    def weight() -> int:
        return sum(model.values()) if weighed else len(model)

    for step, key, value in steps:
        if step == "p":
            cache.put(key, value)
            model.pop(key, None)
            model[key] = value
            while weight() > capacity:
                oldest = next(iter(model))
                gone.append((oldest, model.pop(oldest)))
        elif step == "d":
            assert cache.discard(key) == model.pop(key, None)
        elif step == "k":
            assert cache.peek(key) == model.get(key)
        else:
            assert cache.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        assert len(cache) == len(model)
        assert cache.weight == weight()
        assert (key in cache) == (key in model)
        assert evicted == gone


def test_nothing_is_left_after_it_was_cleared() -> None:
    cache: LruCache[str, str] = LruCache(2, weigh=len)
    cache.put("a", "x")
    cache.clear()
    assert (len(cache), cache.weight, cache.get("a")) == (0, 0, None)
