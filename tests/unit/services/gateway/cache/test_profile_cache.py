"""The profile cache: bounded, and never older than a known update."""

from contracts.positions import Position
from services.gateway.cache.profile_cache import CachedProfile, ProfileCache


def profile(sequence: int, auth: int = 0) -> CachedProfile:
    return CachedProfile(b"{}", '"e"', Position({"PROFILE": sequence, "AUTH": auth}))


def test_a_change_drops_older_profiles_and_keeps_those_that_include_it() -> None:
    cache = ProfileCache()
    assert cache.put("a", profile(5))
    cache.changed("a", "PROFILE", 5)
    assert cache.get("a") is not None
    cache.changed("a", "PROFILE", 6)
    assert cache.get("a") is None
    assert not cache.put("a", profile(5))
    assert cache.put("a", profile(6))
    cache.changed("a", "AUTH", 9)
    assert not cache.put("a", profile(7, auth=8))
    assert cache.put("a", profile(7, auth=9))


def test_nothing_from_before_the_following_began_is_kept() -> None:
    cache = ProfileCache()
    cache.followed_from("PROFILE", 10)
    assert not cache.put("a", profile(9))
    assert cache.put("a", profile(10))


def test_profiles_and_floors_are_bounded_and_a_forgotten_floor_still_holds() -> None:
    cache = ProfileCache(profiles=2, floors=2)
    for sequence, user in enumerate("abc", start=1):
        cache.changed(user, "PROFILE", sequence)
    assert not cache.put("a", profile(0))
    assert cache.put("a", profile(1))
    assert cache.put("b", profile(2))
    assert cache.put("c", profile(3))
    assert len(cache) == 2
