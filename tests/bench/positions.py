"""What encrypting positions for clients costs a gateway, beside writing and reading them plain."""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.positions import Position
from contracts.subjects import AUTH, CONTACT, MESSAGING, PROFILE, SESSION
from infra.security import position_keys
from infra.security.key_lifecycle import KeyTerms
from infra.security.position_keys import PositionKeys
from services.gateway.consistency.encrypted_positions import SealedPositions
from tests.bench.report import Row, main

SOME = Position({AUTH: 12_345, SESSION: 23_456, PROFILE: 1_234, CONTACT: 4_567, MESSAGING: 1_234_567})


async def measure(arguments: argparse.Namespace) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        position_keys.FILES.rotate(Path(folder), datetime.now(UTC))
        terms = KeyTerms(lead=timedelta(minutes=10), life=timedelta(minutes=15))
        sealed = SealedPositions(PositionKeys(Path(folder), terms))
        plain, text = SOME.encode(), sealed.seal(SOME)
        ways: tuple[Callable[[], object], ...] = (
            SOME.encode,
            lambda: sealed.seal(SOME),
            lambda: sealed.seal_sequences(SOME.sequences),
            lambda: Position.decode(plain),
            lambda: sealed.open(text),
        )
        # In turns, so that a busy moment of the machine meets all of them.
        taken = [min(times) for times in zip(*(_turn(ways, arguments.times) for _ in range(200)), strict=True)]
    encode, seal, shared, decode, opened = taken
    return [
        Row("a position written plain", encode, "µs"),
        Row("… encrypted", seal, "µs"),
        Row("… times plain", seal / encode, ""),
        Row("… encrypted before, for another client at the same place", shared, "µs"),
        Row("a position read plain", decode, "µs"),
        Row("… decrypted", opened, "µs"),
        Row("… times plain", opened / decode, ""),
        Row("characters plain", len(plain), ""),
        Row("… encrypted", len(text), ""),
    ]


def _turn(ways: tuple[Callable[[], object], ...], times: int) -> list[float]:
    """Microseconds that each way takes."""
    microseconds = []
    for way in ways:
        began = time.perf_counter()
        for _ in range(times):
            way()
        microseconds.append((time.perf_counter() - began) / times * 1e6)
    return microseconds


if __name__ == "__main__":
    main(measure, times=200)
