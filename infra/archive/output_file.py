"""The output of an export: a file that is created whole or not at all, or standard output.

Only its owner can read the file, since it holds password hashes, addresses and messages.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from infra.durable_files import sync_folder
from infra.operator_errors import OperatorError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Errors of file systems without hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class TargetExists(OperatorError):
    """A file of that name exists."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists; --force replaces it")


class CannotWrite(OperatorError):
    """The export cannot be written there; nothing is left behind."""


@contextmanager
def target(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Yields the file to write to; it gets its name once it is complete and on disk, and is removed otherwise.

    Raises:
        TargetExists: a file of that name exists, and `force` is not set.
        CannotWrite: no space, no permission, no folder.
    """
    if path.exists() and not force:
        raise TargetExists(path)
    if path.exists() and not path.is_file():
        raise CannotWrite(f"cannot write {path}: it is not a regular file")
    draft = path.with_name(f".{path.name}.draft")
    try:
        with _draft(draft, path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _name(draft, path, force=force)
            sync_folder(path.parent)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {_reason(error)}; the partial file was removed") from error


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Standard output, for a pipe.

    Raises:
        CannotWrite: it is a terminal.
    """
    if sys.stdout.isatty():
        raise CannotWrite("an export is binary: name a file, or pipe it to a program")
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # Or the interpreter tries again at its end to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise CannotWrite("the program that reads standard output has closed it") from error
    except OSError as error:
        raise CannotWrite(f"cannot write to standard output: {_reason(error)}") from error


@contextmanager
def _draft(draft: Path, path: Path) -> Iterator[IO[bytes]]:
    """A file under a temporary name, removed on exit; one that a killed export left is reused."""
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotWrite(f"another export is writing {path}") from None
        try:
            os.fchmod(file.fileno(), 0o600)
            file.truncate()
            yield file
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()


def _name(draft: Path, path: Path, *, force: bool) -> None:
    """Gives the draft its final name; unless forced, a file that appeared meanwhile is kept (needs hard links)."""
    if force:
        draft.replace(path)
        return
    try:
        os.link(draft, path)
    except FileExistsError:
        raise TargetExists(path) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        draft.replace(path)


def _reason(error: OSError) -> str:
    return "no space is left" if error.errno in _FULL else error.strerror or str(error)
