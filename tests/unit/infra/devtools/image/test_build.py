"""What the instructions that copy files do to a root, and when a root of an earlier run is used again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.devtools.image import base_root, snapshots
from infra.devtools.image.build import Build, Image
from infra.devtools.image.containerfile import ContainerfileError, parse

BASE = "FROM debian:bookworm-slim AS base\n"
Builder = Callable[[str], Image]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for path in ("a.txt", "folder/b.txt", "folder/deep/c.txt", "folder/left.out"):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
    (tree / "folder" / "link").symlink_to("b.txt")
    (tree / ".containerignore").write_text("**/*.out\n")
    return tree


@pytest.fixture
def progress() -> list[str]:
    return []


@pytest.fixture
def build(tree: Path, tmp_path: Path, progress: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Builder]:
    """Builds a Containerfile on a base with one file."""

    def make(image: str, root: Path) -> None:
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "base").touch()

    def built(text: str) -> Image:
        progress.clear()
        return Build(parse(text), tree, snapshot_store, work, progress.append).run()

    monkeypatch.setattr(base_root, "make", make)
    monkeypatch.setattr(base_root, "apt_sources", lambda suite: f"sources of {suite}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with snapshots.opened(fresh=False) as (snapshot_store, work):
        yield built


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_files_are_copied_under_their_names_or_a_new_one(build: Builder) -> None:
    image = build(BASE + "WORKDIR /work\nCOPY a.txt folder/b.txt ./\nCOPY a.txt renamed\nCOPY a.txt /x/\n")
    assert files(image.root) == {
        "etc/base": "",
        "work/a.txt": "a.txt",
        "work/b.txt": "folder/b.txt",
        "work/renamed": "a.txt",
        "x/a.txt": "a.txt",
    }


def test_of_a_folder_the_content_is_copied_without_what_is_left_out(build: Builder) -> None:
    root = build(BASE + "COPY folder /to\n").root
    assert set(files(root)) == {"etc/base", "to/b.txt", "to/deep/c.txt", "to/link"}
    assert (root / "to" / "link").readlink() == Path("b.txt")


def test_a_stage_is_built_on_another_and_copies_from_one(build: Builder) -> None:
    text = BASE + "COPY folder /one\nFROM base AS two\nCOPY a.txt /\nFROM debian:bookworm-slim\n"
    assert set(files(build(text + "COPY --from=two /one/deep /three\n").root)) == {"etc/base", "three/c.txt"}
    with pytest.raises(ContainerfileError, match="line 6: COPY --from=four: there is no such stage"):
        build(text + "COPY --from=four /one /three\n")


@pytest.mark.parametrize("operands", ["missing /", "*.txt /", '["a.txt", "/"]', "a.txt", "folder/left.out /"])
def test_a_copy_that_is_not_understood_or_finds_nothing_is_refused(build: Builder, operands: str) -> None:
    with pytest.raises(ContainerfileError, match="line 2: COPY"):
        build(f"{BASE}COPY {operands}\n")


def test_the_key_of_an_image_changes_with_the_files_that_it_copies_alone(build: Builder, tree: Path) -> None:
    text = BASE + "COPY folder /to\n"
    before = build(text).key
    (tree / "a.txt").write_text("changed")
    (tree / "folder" / "left.out").write_text("changed")
    assert build(text).key == before
    (tree / "folder" / "b.txt").write_text("changed")
    assert build(text).key != before
    assert build(BASE + "COPY folder /other\n").key != before


def test_the_base_is_made_once(build: Builder, progress: list[str]) -> None:
    build(BASE)
    assert progress == ["FROM debian:bookworm-slim: mmdebstrap"]
    build(BASE)
    assert progress == ["FROM debian:bookworm-slim: the root of an earlier run"]
    with pytest.raises(base_root.NoBase, match="debian:SUITE-slim only"):
        build("FROM python:3.11-slim\n")
