"""Files that survive a crash: replaced atomically and written through to the disk."""

import os
from pathlib import Path

# The modes of files: for their owner alone, and for everyone whom the umask does not exclude.
PRIVATE, PUBLIC = 0o600, 0o666


def replace(path: Path, content: bytes, *, draft: Path | None = None, mode: int = PRIVATE) -> None:
    """Replaces the file: readers, and a crash, see the old content or the new.

    `draft`: where the content is written first, in the same folder. One process at a time may use it; without it it is
    the file's name with `.new`.

    Raises:
        OSError: it cannot be written, and the file is unchanged.
    """
    draft = draft or path.with_name(f"{path.name}.new")
    # Left by a crash, perhaps with another mode.
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
