"""Script that forwards frames between pairs of TAP devices, later than they come, not all, and not all in order.

    python -I -S forwarder.py SPECIFICATION

SPECIFICATION is JSON: `pairs` (names of two devices each, which are made and last as long as the process), and the
parameters of `Impairment`. It prints `ready` when the devices are there.
"""

import fcntl
import heapq
import json
import os
import selectors
import struct
import sys
import time
from random import Random

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
# Frames that wait; more are lost, as in a router without room.
_MOST_WAITING = 10_000
_LARGEST_FRAME = 65_536


class Impairment:
    """Decides when each frame of one direction goes on.

    `delay` and `jitter` are seconds: a frame waits for the delay and up to the jitter more, and frames stay in order.
    `loss` is the share of frames that are lost, `reorder` that of frames that wait for twice as long while others
    overtake them.
    """

    def __init__(self, delay: float, jitter: float, loss: float, reorder: float, chance: Random) -> None:
        self._delay = delay
        self._jitter = jitter
        self._loss = loss
        self._reorder = reorder
        self._chance = chance
        self._last = 0.0

    def due(self, now: float) -> "float | None":
        """When a frame that comes now goes on; None: never."""
        if self._chance.random() < self._loss:
            return None
        wait = self._delay + self._jitter * self._chance.random()
        if self._chance.random() < self._reorder:
            return now + 2 * wait
        self._last = max(self._last, now + wait)
        return self._last


class Forwarder:
    """Forwards what each descriptor reads to its other one."""

    def __init__(self, directions: "dict[int, tuple[int, Impairment]]") -> None:
        """`directions`: by descriptor that is read, without blocking: the one that is written, and the impairment."""
        self._directions = directions
        # When it is due, its number, where it goes.
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        self._selector = selectors.DefaultSelector()
        for descriptor in directions:
            self._selector.register(descriptor, selectors.EVENT_READ)

    def turn(self) -> None:
        """Waits until a frame comes or is due, and handles it."""
        timeout = None
        if self._waiting:
            timeout = max(0.0, self._waiting[0][0] - time.monotonic())
        for key, _ in self._selector.select(timeout):
            self._take(key.fd)
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, descriptor, frame = heapq.heappop(self._waiting)
            try:
                os.write(descriptor, frame)
            except OSError:
                continue  # the device is down, or has no room

    def _take(self, descriptor: int) -> None:
        outward, impairment = self._directions[descriptor]
        try:
            while True:
                frame = os.read(descriptor, _LARGEST_FRAME)
                due = impairment.due(time.monotonic())
                if due is not None and len(self._waiting) < _MOST_WAITING:
                    self._number += 1
                    heapq.heappush(self._waiting, (due, self._number, outward, frame))
        except OSError:
            return  # nothing more for now


def open_tap(name: str) -> int:
    """Makes a TAP device of frames without headers of the kernel; it lasts until the descriptor is closed."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return descriptor


def main(specification: "dict[str, object]") -> None:
    pairs = specification["pairs"]
    assert isinstance(pairs, list)
    numbers = {name: float(str(specification[name])) for name in ("delay", "jitter", "loss", "reorder")}
    chance = Random(str(specification["seed"]))
    directions = {}
    for pair in pairs:
        one, other = map(open_tap, pair)
        directions[one] = (other, Impairment(**numbers, chance=Random(chance.random())))
        directions[other] = (one, Impairment(**numbers, chance=Random(chance.random())))
    forwarder = Forwarder(directions)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        forwarder.turn()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
