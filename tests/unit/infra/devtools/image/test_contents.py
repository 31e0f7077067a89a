"""What is refused in the final root."""

import json
import py_compile
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.devtools.image import contents

SITE = "opt/vestnik/lib/python3.11/site-packages"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root in which nothing is wrong."""
    write(tmp_path / "var/lib/dpkg/status", "Package: gcc-12-base\nStatus: install ok installed\n\n")
    distribution(tmp_path, "vestnik", "0.2.0")
    distribution(tmp_path, "Typing_Extensions", "4.0")
    components = [{"name": "typing-extensions", "version": "4.0"}]
    write(tmp_path / contents.BILL, json.dumps({"components": components}))
    compiled(tmp_path / SITE / "a.py")
    write(tmp_path / "usr/bin/as-user", "")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def distribution(root: Path, name: str, version: str) -> None:
    metadata = root / SITE / f"{name}-{version}.dist-info" / "METADATA"
    write(metadata, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def compiled(
    source: Path, mode: py_compile.PycInvalidationMode = py_compile.PycInvalidationMode.UNCHECKED_HASH
) -> None:
    write(source, "")
    target = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
    py_compile.compile(str(source), str(target), invalidation_mode=mode)


def add_package(root: Path, text: str) -> None:
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text() + text)


def add_component(root: Path, **component: object) -> None:
    bill = json.loads((root / contents.BILL).read_text())
    bill["components"].append(component)
    (root / contents.BILL).write_text(json.dumps(bill))


def test_a_root_without_any_of_this_is_accepted(root: Path) -> None:
    add_package(root, "Package: libssl-dev\nStatus: deinstall ok config-files\n")
    add_component(root, name="pywin32", version="3", properties=[{"name": "python:marker", "value": "win32"}])
    (root / "usr/bin/link").symlink_to("nowhere")
    assert list(contents.faults(root)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda root: write(root / "usr/bin/gcc-12", ""), "/usr/bin/gcc-12 is in the image"),
        (lambda root: write(root / "usr/bin/x86_64-linux-gnu-ld", ""), "/usr/bin/x86_64-linux-gnu-ld is in the image"),
        (lambda root: write(root / "opt/vestnik/bin/pip3.11", ""), "/opt/vestnik/bin/pip3.11 is in the image"),
        (lambda root: write(root / "opt/vestnik/bin/nats-server", ""), "/opt/vestnik/bin/nats-server is in the image"),
        (
            lambda root: add_package(root, "Package: python3-dev\nStatus: install ok installed\n"),
            "the Debian package python3-dev is installed",
        ),
        (lambda root: write(root / SITE / "pip/x", ""), f"/{SITE}/pip is in the image"),
        (lambda root: distribution(root, "pytest", "8"), "pytest 8 is installed, and the bill of materials"),
        (lambda root: add_component(root, name="b", version="1"), "the bill of materials lists b, which"),
        (lambda root: (root / contents.BILL).write_text("{}"), "is not a bill of materials"),
        (lambda root: write(root / SITE / "b.py", ""), f"/{SITE}/b.py has no byte code"),
        (
            lambda root: compiled(root / SITE / "b.py", py_compile.PycInvalidationMode.TIMESTAMP),
            f"/{SITE}/b.py has no byte code",
        ),
        (lambda root: (root / "usr/bin/as-user").chmod(0o646), "/usr/bin/as-user is writable for user 10001"),
        (lambda root: (root / SITE / "a.py").chmod(0o600), f"/{SITE}/a.py is not readable for user 10001"),
    ],
)
def test_what_does_not_belong_into_the_image_is_named(root: Path, change: Callable[[Path], object], fault: str) -> None:
    change(root)
    assert any(fault in reported for reported in contents.faults(root)), list(contents.faults(root))


def test_the_size_is_bounded_and_a_file_counts_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents.size(root)
    (root / "usr/bin/as-user").write_bytes(b"x" * 1000)
    (root / "usr/bin/same").hardlink_to(root / "usr/bin/as-user")
    assert contents.size(root) == before + 1000
    monkeypatch.setattr(contents, "BYTES", 100)
    assert "MB" in next(contents.faults(root))
