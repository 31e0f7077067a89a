"""The limits on the frames of one connection: floods are refused at their first excess, real callers never."""

from collections.abc import Iterator
from itertools import islice, repeat

import pytest
from h2.errors import ErrorCodes

from infra.rpc.transport.frame_limits import (
    LARGEST_FRAME,
    LARGEST_HEADERS,
    MOST_CONTROL,
    MOST_RESETS,
    ExcessiveFrames,
    FrameLimits,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 0, 1, 2, 3, 4, 6, 8, 9, 99
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8


def frame(kind: int, flags: int = 0, payload: bytes = b"", stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


CALL = frame(HEADERS, END_HEADERS, b"h" * 90)
RESET = frame(RST_STREAM, 0, b"\0\0\0\x08")
PINGED = frame(PING, 0, b"12345678")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the limits; only the test advances it."""
    now = [0.0]
    monkeypatch.setattr("infra.rpc.transport.frame_limits.time.monotonic", lambda: now[0])
    return now


def greeted() -> FrameLimits:
    limits = FrameLimits()
    limits.check(PREFACE, 0)
    return limits


def taken(limits: FrameLimits, frames: Iterator[bytes], most: int = 20_000) -> int:
    """The number of frames that are accepted before the connection is refused."""
    for number, frame_bytes in enumerate(islice(frames, most)):
        try:
            limits.check(frame_bytes, 0)
        except ExcessiveFrames as excess:
            return number if excess.code is ErrorCodes.ENHANCE_YOUR_CALM else -1
    return most


@pytest.mark.parametrize(
    ("flood", "allowed"),
    [
        (CALL + RESET, 2 * MOST_RESETS),
        (PINGED, MOST_CONTROL),
        (frame(SETTINGS), MOST_CONTROL / 10),
        (frame(DATA), MOST_CONTROL),
        (frame(DATA, 0, b"x"), MOST_CONTROL),
        (frame(DATA, PADDED, b"\xff" + b"\0" * 255), MOST_CONTROL),
        (frame(CONTINUATION), MOST_CONTROL),
        (frame(PRIORITY, 0, b"\0" * 5), MOST_CONTROL),
        (frame(WINDOW_UPDATE, 0, b"\0\0\0\x01"), MOST_CONTROL),
        (frame(UNKNOWN), MOST_CONTROL),
    ],
    ids=["resets", "ping", "settings", "empty data", "tiny data", "padding", "continuation", "priority", "window", "?"],
)
def test_a_flood_is_refused_soon(flood: bytes, allowed: float) -> None:
    assert allowed / 2 <= taken(greeted(), repeat(flood)) <= allowed + 1


@pytest.mark.parametrize("size", [1, 7, 9, 100, 65_536])
def test_frames_are_counted_however_the_bytes_are_cut(size: int) -> None:
    sent = PREFACE + PINGED * int(MOST_CONTROL)
    limits = FrameLimits()
    for first in range(0, len(sent), size):
        limits.check(sent[first : first + size], 0)
    with pytest.raises(ExcessiveFrames, match="control frames"):
        limits.check(PINGED, 0)


def test_a_frame_that_is_too_large_is_refused_at_its_head() -> None:
    greeted().check(frame(DATA, 0, b"x" * LARGEST_FRAME), 0)
    with pytest.raises(ExcessiveFrames) as caught:
        greeted().check((LARGEST_FRAME + 1).to_bytes(3, "big") + bytes(6), 0)
    assert caught.value.code is ErrorCodes.FRAME_SIZE_ERROR


def test_headers_that_are_too_large_are_refused_before_they_end() -> None:
    limits = greeted()
    limits.check(frame(HEADERS, 0, b"h" * LARGEST_FRAME), 0)
    for _ in range(LARGEST_HEADERS // LARGEST_FRAME - 1):
        limits.check(frame(CONTINUATION, 0, b"h" * LARGEST_FRAME), 0)
    with pytest.raises(ExcessiveFrames, match="headers"):
        limits.check(frame(CONTINUATION, 0, b"h"), 0)


def test_the_headers_of_each_call_are_measured_for_themselves() -> None:
    limits = greeted()
    for _ in range(100):
        limits.check(frame(HEADERS, 0, b"h" * LARGEST_FRAME) + frame(CONTINUATION, END_HEADERS, b"h"), 0)


def test_a_caller_may_cancel_half_of_its_calls_for_ever() -> None:
    assert taken(greeted(), repeat(CALL + CALL + RESET)) == 20_000


def test_calls_that_all_end_at_their_deadline_are_no_flood(clock: list[float]) -> None:
    limits = greeted()
    for _ in range(100):
        # As many as HTTP/2 lets be open at once, once a second, without a single answer.
        limits.check(CALL * 100 + RESET * 100, 0)
        clock[0] += 1.0


def test_a_stream_of_calls_that_are_all_given_up_is_no_flood() -> None:
    call, given_up = frame(DATA, 0, b"c" * 400), frame(DATA, 0, b"g" * 12)
    assert taken(greeted(), repeat(call + given_up)) == 20_000


def test_a_caller_may_acknowledge_what_it_is_sent() -> None:
    limits = greeted()
    for number in range(20_000):
        # Two for each 16 KiB (the stream and the connection), and a PING to learn how long a round trip takes.
        limits.check(frame(WINDOW_UPDATE) * 2 + PINGED, number * 16_384)


def test_streams_that_a_callers_faults_have_reset_count_as_its_resets() -> None:
    limits = greeted()
    for _ in range(int(MOST_RESETS)):
        limits.reset_by_us()
    with pytest.raises(ExcessiveFrames, match="resets"):
        limits.reset_by_us()
