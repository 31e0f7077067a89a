import os
from pathlib import Path

import pytest

from infra import durable_files


def test_a_file_is_replaced_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    durable_files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_that_a_crash_left_lends_the_file_neither_content_nor_mode(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    draft = tmp_path / "key.pem.new"
    draft.write_bytes(b"half of a longer text")
    draft.chmod(0o666)
    durable_files.replace(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


def test_the_file_is_unchanged_if_its_content_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        durable_files.replace(path, b"new")
    assert path.read_bytes() == b"old"
