"""The cache is bounded and forgets what was used longest ago."""

from hypothesis import given
from hypothesis import strategies as st

from streams.lru_cache import Cache


@given(st.lists(st.tuples(st.sampled_from("pgd"), st.sampled_from("abcdefg"))), st.integers(1, 4))
def test_it_holds_what_was_used_last(steps: list[tuple[str, str]], capacity: int) -> None:
    cache: Cache[str] = Cache(capacity)
    model: list[str] = []
    for step, key in steps:
        known = key in model
        if step == "g":
            assert cache.get(key) == (key if known else None)
        if known:
            model.remove(key)
        if step == "p":
            cache.put(key, key)
        elif step == "d":
            cache.discard(key)
        if step == "p" or (step == "g" and known):
            model.append(key)
        model = model[-capacity:]
        assert len(cache) == len(model)


def test_a_false_value_is_a_value() -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 0)
    assert cache.get("a") == 0
