"""A file that is written completely or not at all."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.archive.output_file import CannotWrite, TargetExists, target


@pytest.fixture
def little_space() -> Iterator[None]:
    """Limits the files of this process to 4 KiB; writes beyond fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_half(path: Path, *, force: bool) -> None:
    with target(path, force=force) as file:
        file.write(b"half")
        raise ZeroDivisionError


def write_while_another_comes(path: Path) -> None:
    with target(path, force=False) as file:
        file.write(b"mine")
        path.write_bytes(b"theirs")


def test_the_file_is_there_at_the_end_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with target(path, force=False) as file:
        file.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_export_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with pytest.raises(ZeroDivisionError):
        write_half(path, force=False)
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_overwritten_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"before")
    with pytest.raises(TargetExists, match="--force"), target(path, force=False):
        pass
    assert path.read_bytes() == b"before"
    with pytest.raises(ZeroDivisionError):
        write_half(path, force=True)
    assert path.read_bytes() == b"before"
    with target(path, force=True) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"


def test_a_file_that_appears_meanwhile_is_not_overwritten_either(tmp_path: Path) -> None:
    path = tmp_path / "export"
    with pytest.raises(TargetExists):
        write_while_another_comes(path)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("little_space")
def test_a_full_disk_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="no space is left"), target(tmp_path / "export", force=False) as file:
        file.write(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="No such file"), target(tmp_path / "no" / "export", force=False):
        pass
    with pytest.raises(CannotWrite, match="not a regular file"), target(tmp_path, force=True):
        pass


def test_what_a_killed_export_left_is_taken_over_and_two_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "export"
    (tmp_path / ".export.draft").write_bytes(b"x" * 1000)
    with target(path, force=False) as file:
        file.write(b"new")
        with pytest.raises(CannotWrite, match="another export"), target(path, force=False):
            pass
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
