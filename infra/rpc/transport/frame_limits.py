"""Limits on the HTTP/2 frames that a caller sends over one connection, checked before the HTTP/2 library parses them.

A frame costs its sender a few bytes and costs a server in Python 10 to 200 µs, and some make it keep state. Two token
buckets per connection limit that. Both refill over time and with a caller's useful traffic, so that many calls and many
answers allow many resets and many control frames:

- resets: RST_STREAM takes 1; each HEADERS frame gives back one half.
- control: PING, WINDOW_UPDATE, PRIORITY, GOAWAY, CONTINUATION, an unknown frame and an (almost) empty DATA frame take 1
  each, SETTINGS takes 10; each HEADERS frame, each other DATA frame and each KiB sent to the caller gives back 1.

An oversized frame or header block is refused at its first bytes, before the rest has arrived.
"""

import time

from h2.errors import ErrorCodes

# The capacity of each bucket, and its refill per second.
MOST_RESETS, RESETS_PER_SECOND = 400.0, 100.0
MOST_CONTROL, CONTROL_PER_SECOND = 1_000.0, 100.0
# Bytes: HTTP/2's default maximum frame size, and the most headers that the library decodes.
LARGEST_FRAME = 16_384
LARGEST_HEADERS = 65_536
# A DATA frame of fewer bytes that does not end its stream counts as a control frame.
SMALL_DATA = 64

_PREFACE = 24
_HEAD = 9
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _CONTINUATION = 0, 1, 3, 4, 9
_END_STREAM, _END_HEADERS, _PADDED = 0x1, 0x4, 0x8
_SETTINGS_COST = 10.0


class ExcessiveFrames(Exception):
    """The caller sends more than its connection allows; `code` is the HTTP/2 error to close it with."""

    def __init__(self, reason: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(reason)
        self.code = code


class FrameLimits:
    """Counts the frames of one connection by their headers."""

    def __init__(self) -> None:
        # Bytes to skip before the next frame header: of the preface, or of a frame's payload.
        self._skip = _PREFACE
        # An incomplete frame header.
        self._begun = b""
        # Bytes so far of the header block that is not complete yet.
        self._block = 0
        self._resets = MOST_RESETS
        self._control = MOST_CONTROL
        self._refilled = time.monotonic()
        self._sent = 0

    def check(self, data: bytes, sent: int) -> None:
        """Takes the next bytes from the caller; `sent`: bytes of data sent to it on this connection so far.

        Raises:
            ExcessiveFrames: the connection must be closed, and the bytes dropped.
        """
        if sent != self._sent:
            self._give_control((sent - self._sent) / 1024)
            self._sent = sent
        if self._begun:
            data = self._begun + data
            self._begun = b""
        offset, end = self._skip, len(data)
        while offset + _HEAD <= end:
            length = int.from_bytes(data[offset : offset + 3], "big")
            self._frame(length, data[offset + 3], data[offset + 4])
            offset += _HEAD + length
        if offset < end:
            self._begun = bytes(data[offset:])
            offset = end
        self._skip = offset - end

    def reset_by_us(self) -> None:
        """Counts a stream that this side reset because of the caller's error.

        Raises:
            ExcessiveFrames: as `check`.
        """
        self._take_reset()

    def _frame(self, length: int, kind: int, flags: int) -> None:
        if length > LARGEST_FRAME:
            raise ExcessiveFrames(f"a frame of {length} bytes", ErrorCodes.FRAME_SIZE_ERROR)
        if kind == _DATA:
            if flags & _PADDED or (length < SMALL_DATA and not flags & _END_STREAM):
                self._take_control(1.0)
            else:
                self._give_control(1.0)
        elif kind == _HEADERS:
            self._give_control(1.0)
            self._resets = min(self._resets + 0.5, MOST_RESETS)
            self._block = 0
            self._headers(length, flags)
        elif kind == _RST_STREAM:
            self._take_reset()
        elif kind == _CONTINUATION:
            self._take_control(1.0)
            self._headers(length, flags)
        else:
            self._take_control(_SETTINGS_COST if kind == _SETTINGS else 1.0)

    def _headers(self, length: int, flags: int) -> None:
        self._block += length
        if self._block > LARGEST_HEADERS:
            raise ExcessiveFrames(f"headers of more than {LARGEST_HEADERS} bytes")
        if flags & _END_HEADERS:
            self._block = 0

    def _give_control(self, amount: float) -> None:
        self._control = min(self._control + amount, MOST_CONTROL)

    def _take_control(self, cost: float) -> None:
        self._control -= cost
        if self._control < 0:
            self._refill()
            if self._control < 0:
                raise ExcessiveFrames("too many control frames")

    def _take_reset(self) -> None:
        self._resets -= 1.0
        if self._resets < 0:
            self._refill()
            if self._resets < 0:
                raise ExcessiveFrames("too many resets")

    def _refill(self) -> None:
        """Adds the refill for the time since the last one; called only when a bucket is empty."""
        now = time.monotonic()
        passed = now - self._refilled
        self._refilled = now
        self._resets = min(self._resets + passed * RESETS_PER_SECOND, MOST_RESETS)
        self._control = min(self._control + passed * CONTROL_PER_SECOND, MOST_CONTROL)
