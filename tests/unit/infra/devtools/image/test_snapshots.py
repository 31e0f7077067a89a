"""Roots that are kept between two runs."""

import os
from pathlib import Path

import pytest

from infra.devtools.image.snapshots import opened


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vestnik" / "image"


def keep(*keys: str) -> None:
    with opened(fresh=False) as (snapshots, work):
        (work / "root").mkdir()
        (work / "root" / "file").write_text("as it was")
        for key in keys:
            snapshots.keep(work / "root", key)


def test_a_root_is_restored_as_it_was_kept(cache: Path) -> None:
    keep("a")
    with opened(fresh=False) as (snapshots, work):
        assert "a" in snapshots
        assert "b" not in snapshots
        assert list(work.iterdir()) == []
        snapshots.restore("a", work / "root")
        (work / "root" / "file").write_text("changed")
        snapshots.restore("a", work / "other")
        assert (work / "other" / "file").read_text() == "as it was"


def test_old_and_unfinished_snapshots_and_all_on_request_are_removed(cache: Path) -> None:
    keep("old", "new")
    os.utime(cache / "snapshots" / "old", (0, 0))
    (cache / "snapshots" / "x.unfinished").mkdir()
    with opened(fresh=False):
        assert [path.name for path in (cache / "snapshots").iterdir()] == ["new"]
    with opened(fresh=True) as (snapshots, _):
        assert "new" not in snapshots
