"""Token buckets and the headers that tell of them."""

import pytest

from contracts.errors import RateLimited
from services.gateway import rate_limits
from services.gateway.rate_limits import Limit, RateLimiter, Subject, address_key

LIMIT = Limit(name="send", quota=10, window=5, burst=3, subject=Subject.ACCOUNT)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_then_the_rate_holds() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock)

    assert [limiter.take(LIMIT, "a").allowed for _ in range(4)] == [True, True, True, False]
    clock.now = 0.5
    assert [limiter.take(LIMIT, "a").allowed for _ in range(2)] == [True, False]
    clock.now = 1_000.0
    assert limiter.take(LIMIT, "a").remaining == 2
    assert limiter.take(LIMIT, "b").remaining == 2


def test_the_headers_say_what_is_left_and_when_there_is_more() -> None:
    standing = RateLimiter(clock=Clock()).take(LIMIT, "a")

    assert rate_limits.headers([standing]) == {"ratelimit-policy": '"send";q=10;w=5', "ratelimit": '"send";r=2;t=1'}
    assert rate_limits.headers([]) == {}


def test_a_refusal_says_how_long_to_wait() -> None:
    slow = Limit(name="resend", quota=5, window=3600, burst=1, subject=Subject.BODY)
    limiter = RateLimiter(clock=Clock())
    rate_limits.check([limiter.take(slow, "a")])

    with pytest.raises(RateLimited) as refused:
        rate_limits.check([limiter.take(slow, "a")])
    assert refused.value.retry_after == 720


def test_memory_is_bounded() -> None:
    limiter = RateLimiter(capacity=2, clock=Clock())
    for key in "abcab":
        limiter.take(LIMIT, key)
    assert len(limiter._buckets) == 2


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_customer_is_one(address: str, key: str) -> None:
    assert address_key(address) == key
