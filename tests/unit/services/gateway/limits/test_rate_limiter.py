"""The rate limiter: its own counts, those merged from other gateways, and the `RateLimit` headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import RateLimited
from services.gateway.limits import policies, rate_limiter
from services.gateway.limits.rate_limiter import Limit, RateLimiter, Subject

LIMIT = Limit(name="send", quota=10, window=5, burst=3, subject=Subject.ACCOUNT)
SECRET = b"s" * 32


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_the_rate_holds() -> None:
    clock = Clock()
    limiter = RateLimiter(SECRET, clock=clock)

    assert [limiter.consume(LIMIT, "a").allowed for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [limiter.consume(LIMIT, "a").allowed for _ in range(2)] == [True, False]
    clock.now += 1_000.0
    assert limiter.consume(LIMIT, "a").remaining == 2
    assert limiter.consume(LIMIT, "b").remaining == 2


def test_each_request_that_finds_a_limit_exhausted_is_reported_by_the_limits_name() -> None:
    reported: list[str] = []
    limiter = RateLimiter(SECRET, clock=Clock(), exhausted=reported.append)
    for _ in range(5):
        limiter.consume(LIMIT, "a")
    assert reported == ["send", "send"]


def test_the_headers_say_what_is_left_and_when_there_is_more() -> None:
    state = RateLimiter(SECRET, clock=Clock()).consume(LIMIT, "a")

    assert rate_limiter.headers([state]) == {"ratelimit-policy": '"send";q=10;w=5', "ratelimit": '"send";r=2;t=1'}
    assert rate_limiter.headers([]) == {}


def test_a_refusal_says_how_long_to_wait() -> None:
    clock = Clock()
    slow = Limit(name="resend", quota=5, window=3600, burst=1, subject=Subject.BODY)
    limiter = RateLimiter(SECRET, clock=clock)
    rate_limiter.check([limiter.consume(slow, "a")])

    with pytest.raises(RateLimited) as refused:
        rate_limiter.check([limiter.consume(slow, "a")])
    assert refused.value.retry_after == 720
    clock.now += 720
    rate_limiter.check([limiter.consume(slow, "a")])


@given(st.lists(st.floats(0, 3), max_size=60))
def test_no_client_ever_gets_more_than_a_burst_and_the_quota_restored_since(pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(SECRET, clock=clock)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        allowed += limiter.consume(LIMIT, "a").allowed
    assert allowed <= LIMIT.capacity + (clock.now - Clock.now) * LIMIT.per_second + 1e-6


def test_requests_counted_by_another_gateway_use_up_the_limit_here_too() -> None:
    first, second = RateLimiter(SECRET, clock=Clock()), RateLimiter(SECRET, clock=Clock())
    for _ in range(2):
        first.consume(LIMIT, "a")
    second.merge_remote(LIMIT, first.drain_local_counts()["send"])

    assert [second.consume(LIMIT, "a").allowed for _ in range(2)] == [True, False]
    assert first.drain_local_counts() == {}


def test_remote_counts_of_long_ago_are_forgiven() -> None:
    limiter = RateLimiter(SECRET, clock=Clock())
    other = RateLimiter(SECRET, clock=Clock())
    other.consume(LIMIT, "a")
    uses = other.drain_local_counts()["send"]
    limiter.merge_remote(LIMIT, uses, ago=10.0)
    assert limiter.consume(LIMIT, "a").remaining == 2
    limiter.merge_remote(LIMIT, uses, ago=0.25)
    assert limiter.consume(LIMIT, "a").remaining == 0


def test_a_key_cannot_be_derived_from_shared_counts() -> None:
    one, other = RateLimiter(SECRET), RateLimiter(b"t" * 32)
    one.consume(LIMIT, "192.0.2.1")
    other.consume(LIMIT, "192.0.2.1")
    assert one.drain_local_counts() != other.drain_local_counts()


def test_memory_is_bounded_and_the_limit_with_most_keys_forgets_first() -> None:
    rare = Limit(name="rare", quota=1, window=60, subject=Subject.BODY)
    limiter = RateLimiter(SECRET, keys=10, clock=Clock())
    limiter.consume(rare, "victim")
    for number in range(1_000):
        limiter.consume(LIMIT, f"flood-{number}")
    assert limiter.held == 10
    assert not limiter.consume(rare, "victim").allowed


def test_a_local_limit_is_counted_and_not_shared() -> None:
    local = Limit(name="read", quota=1, window=60, subject=Subject.ACCOUNT, shared=False)
    limiter = RateLimiter(SECRET, clock=Clock())
    assert [limiter.consume(local, "a").allowed for _ in range(2)] == [True, False]
    assert limiter.drain_local_counts() == {}


BYTES = Limit(name="bytes", quota=1_000, window=100, subject=Subject.ACCOUNT, unit="content-bytes", publish_from=400)


def test_a_request_is_counted_by_its_cost() -> None:
    clock = Clock()
    limiter = RateLimiter(SECRET, clock=clock)
    passed = [cost for cost in (600, 300, 200, 100, 1) if limiter.consume(BYTES, "a", cost).allowed]
    assert passed == [600, 300, 100]
    # 250 of them take 25 s, and one of them a tenth of a second.
    assert limiter.consume(BYTES, "a", 250).resets_in == 25
    assert limiter.consume(BYTES, "a", 1).resets_in == 1
    clock.now += 25
    assert limiter.consume(BYTES, "a", 250).allowed
    assert rate_limiter.headers([limiter.consume(BYTES, "b", 10)]) == {
        "ratelimit-policy": '"bytes";q=1000;w=100;qu="content-bytes"',
        "ratelimit": '"bytes";r=990;t=1',
    }


def test_no_day_has_more_bytes_than_the_setting_says() -> None:
    clock = Clock()
    limiter = RateLimiter(SECRET, clock=clock)
    limit = policies.daily_bytes(1_000_000)
    sent = 0
    for _ in range(24 * 60):
        while limiter.consume(limit, "a", 1_000).allowed:
            sent += 1_000
        clock.now += 60
    assert 990_000 <= sent <= 1_000_000


def test_small_counts_are_shared_once_they_add_up() -> None:
    limiter = RateLimiter(SECRET, clock=Clock())
    limiter.consume(BYTES, "a", 300)
    assert limiter.drain_local_counts() == {}
    limiter.consume(BYTES, "a", 150)
    limiter.consume(BYTES, "a", 50)
    assert list(limiter.drain_local_counts()["bytes"].values()) == [450]
    assert limiter.drain_local_counts() == {}


def test_counts_not_shared_yet_are_bounded() -> None:
    limiter = RateLimiter(SECRET, keys=10, clock=Clock())
    for number in range(1_000):
        limiter.consume(BYTES, f"user-{number}", 1)
    assert len(limiter._tables["bytes"].small) == limiter.held == 10
