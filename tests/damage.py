"""Damages the files of a stopped NATS server, as a failing disk or a crash does."""

from pathlib import Path


def blocks(store: Path, stream: str) -> list[Path]:
    """The files that hold a stream's messages, oldest first."""
    files = (store / "store").glob(f"jetstream/*/streams/{stream}/msgs/*.blk")
    return sorted(files, key=lambda path: int(path.stem))


def flip_a_byte(store: Path, stream: str, text: bytes) -> None:
    """Flips one bit of the only message that contains the text."""
    holding = [path for path in blocks(store, stream) if text in path.read_bytes()]
    assert len(holding) == 1, f"{text!r} stands in {len(holding)} files"
    data = bytearray(holding[0].read_bytes())
    data[data.index(text)] ^= 1
    holding[0].write_bytes(data)


def cut_the_end(store: Path, stream: str, size: int) -> None:
    """Removes the last `size` bytes of the stream's newest file."""
    newest = blocks(store, stream)[-1]
    newest.write_bytes(newest.read_bytes()[:-size])
