"""The forwarder's delay, loss and reordering of frames."""

import os
import socket
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis.forwarder import Forwarder, Impairment

SEEDS = st.integers(0, 10_000)
NOW = 100.0


def impairment(
    seed: int, delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0, reorder: float = 0.0
) -> Impairment:
    return Impairment(delay, jitter, loss, reorder, Random(seed))


@given(SEEDS)
def test_jitter_keeps_the_order_and_its_bounds(seed: int) -> None:
    link = impairment(seed, delay=0.2, jitter=0.1)
    arrivals = [NOW + 0.01 * number for number in range(100)]
    due = [link.due(arrival) for arrival in arrivals]
    times = [moment for moment in due if moment is not None]
    assert times == sorted(times)
    assert len(times) == len(arrivals)
    waits = [moment - arrival for moment, arrival in zip(times, arrivals, strict=True)]
    assert min(waits) >= 0.2 - 1e-9
    assert max(waits) <= 0.3 + 1e-9


@given(SEEDS)
def test_the_share_of_lost_frames_is_as_configured(seed: int) -> None:
    link = impairment(seed, loss=0.2)
    lost_frames = [link.due(NOW) for _ in range(2000)].count(None)
    assert 250 < lost_frames < 550


def test_nothing_is_lost_without_loss() -> None:
    link = impairment(1, delay=0.1, jitter=0.1, reorder=0.5)
    assert None not in [link.due(NOW) for _ in range(1000)]


@given(SEEDS)
def test_frames_that_are_reordered_come_after_later_ones(seed: int) -> None:
    link = impairment(seed, delay=0.1, reorder=0.2)
    due = [link.due(NOW + 0.001 * number) or 0.0 for number in range(200)]
    assert due != sorted(due)
    late_frames = sum(moment - (NOW + 0.001 * number) > 0.15 for number, moment in enumerate(due))
    assert 10 < late_frames < 90


def test_the_same_seed_impairs_in_the_same_way() -> None:
    one, other = (impairment(7, 0.1, 0.1, 0.1, 0.1) for _ in range(2))
    assert [one.due(NOW) for _ in range(100)] == [other.due(NOW) for _ in range(100)]


def test_frames_go_to_the_other_side_unchanged() -> None:
    left_end, inner_left = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right_end, inner_right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for sock in (inner_left, inner_right):
        sock.setblocking(False)
    left_fd, right_fd = inner_left.fileno(), inner_right.fileno()
    forwarder = Forwarder({left_fd: (right_fd, impairment(1)), right_fd: (left_fd, impairment(2))})
    frames = [os.urandom(1500), os.urandom(60)]
    for frame in frames:
        left_end.send(frame)
    right_end.send(b"back")
    forwarder.turn()
    assert [right_end.recv(65536) for _ in frames] == frames
    assert left_end.recv(65536) == b"back"
    for sock in (left_end, right_end, inner_left, inner_right):
        sock.close()
