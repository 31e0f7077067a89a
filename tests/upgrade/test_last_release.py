"""What the current tree must keep of the last release, so that processes of both can call each other."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from contracts.durable_consumers import DURABLES
from contracts.services import REGISTRY
from contracts.subjects import BUCKETS, STREAM_CODES
from infra.settings import describe
from tests.upgrade.releases import extract_last_release
from tests.worktrees import ROOT

# Settings of the last release that were removed; the CHANGELOG says what replaces them.
REMOVED: set[str] = set()
_CONTRACTS = """
import json
from contracts.durable_consumers import DURABLES
from contracts.services import REGISTRY
from contracts.subjects import BUCKETS, STREAM_CODES
print(json.dumps({
    "methods": {service.name: service.methods for service in REGISTRY.values()},
    "stream_codes": STREAM_CODES,
    "durables": {durable.name: durable.stream for durable in DURABLES},
    "buckets": list(BUCKETS),
}, default=dict))
"""


class Contracts(msgspec.Struct):
    # By service and method the callers, each with the field that names the user.
    methods: dict[str, dict[str, dict[str, str | None]]]
    stream_codes: dict[str, str]
    durables: dict[str, str]
    buckets: list[str]


@pytest.fixture(scope="module")
def last_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the last release."""
    folder = tmp_path_factory.mktemp("last-release")
    extract_last_release(folder)
    return folder


@pytest.fixture(scope="module")
def kept(last_release: Path) -> Contracts:
    """The contracts of the last release, as its own code prints them."""
    output = subprocess.run(
        [sys.executable, "-c", _CONTRACTS], cwd=last_release, capture_output=True, check=True, env={"PYTHONPATH": "."}
    ).stdout
    return msgspec.json.decode(output, type=Contracts)


def test_each_method_keeps_its_callers(kept: Contracts) -> None:
    lost = [
        f"{service}.{method} for {caller}"
        for service, methods in kept.methods.items()
        for method, callers in methods.items()
        for caller, field in callers.items()
        if REGISTRY[service].methods.get(method, {}).get(caller, "") != field
    ]
    assert lost == []


def test_messages_keep_their_fields(last_release: Path, tmp_path: Path) -> None:
    earlier, present = (
        dict(_fields(_descriptors(root / "contracts" / "proto", tmp_path / "set"))) for root in (last_release, ROOT)
    )
    assert {name: field for name, field in earlier.items() if present.get(name) != field} == {}


def test_streams_consumers_and_buckets_keep_their_names(kept: Contracts) -> None:
    assert kept.stream_codes.items() <= STREAM_CODES.items()
    assert kept.durables.items() <= {durable.name: durable.stream for durable in DURABLES}.items()
    assert set(kept.buckets) <= set(BUCKETS)


def test_a_setting_stays_or_the_changelog_says_that_it_was_removed(last_release: Path) -> None:
    page = (last_release / "docs" / "reference" / "settings.md").read_text()
    earlier = set(re.findall(r"^\| `(VESTNIK_\w+)`", page, re.MULTILINE))
    assert earlier
    assert earlier - {setting.name for setting in describe()} == REMOVED
    changes = (ROOT / "CHANGELOG.md").read_text().partition("## Unreleased")[2].partition("\n## ")[0]
    assert [name for name in REMOVED if f"`{name}`" not in changes] == []


def _descriptors(folder: Path, output: Path) -> FileDescriptorSet:
    sources = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={output}", *sources],
        check=True,
    )
    return FileDescriptorSet.FromString(output.read_bytes())


def _fields(files: FileDescriptorSet) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Every field by its full name, with what is on the wire or determines its decoding."""
    for file in files.file:
        for message in file.message_type:
            yield from _fields_of(message, f"{file.package}.{message.name}")
        for enum in file.enum_type:
            for value in enum.value:
                yield f"{file.package}.{enum.name}.{value.name}", (value.number,)


def _fields_of(message: DescriptorProto, name: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    for field in message.field:
        shape = (field.number, field.type, field.type_name, field.label, field.proto3_optional)
        yield f"{name}.{field.name}", shape
    for nested in message.nested_type:
        yield from _fields_of(nested, f"{name}.{nested.name}")
