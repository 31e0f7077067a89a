"""Servers of read models are found by their files, and get the read model that they name."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import cast

import msgspec
import pytest

from projections.engine.read_model import ReadModel
from projections.engine.read_servers import read_servers, to_json

MODULE = """
from tests.unit.projections.engine.test_read_servers import ImportedReads

class {name}Reads:
    READ_MODEL = "{model}"

    def __init__(self, model):
        self.model = model

class _Cursor:
    pass
"""


class ImportedReads:
    """A class that its module only imports."""

    READ_MODEL = "imported"


@pytest.fixture
def package(tmp_path: Path) -> Iterator[ModuleType]:
    module = ModuleType("reads_in_a_test")
    module.__path__ = [str(tmp_path)]
    sys.modules[module.__name__] = module
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == module.__name__]:
        del sys.modules[name]


def test_every_file_is_found_without_being_listed(package: ModuleType, tmp_path: Path) -> None:
    opened_models: list[str] = []

    def open_model(name: str) -> ReadModel:
        opened_models.append(name)
        return cast(ReadModel, f"the read model {name}")

    assert read_servers(package, open_model) == []
    for name in ("Second", "First"):
        (tmp_path / f"{name.lower()}.py").write_text(MODULE.format(name=name, model=name.lower()))
    servers = read_servers(package, open_model)
    assert [type(server).__name__ for server in servers] == ["FirstReads", "SecondReads"]
    assert [vars(server) for server in servers] == [{"model": f"the read model {name}"} for name in opened_models]
    assert opened_models == ["first", "second"]


class Row(msgspec.Struct):
    at: datetime
    times: dict[str, list[datetime]]
    day: date
    took: timedelta
    until: datetime | None = None


def test_clients_get_times_in_utc_with_milliseconds() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    in_another_zone = datetime(2026, 1, 31, 14, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
    row = Row(at, {"all": [at, in_another_zone]}, at.date(), timedelta(seconds=1.5))
    assert msgspec.json.decode(to_json([row])) == [
        {
            "at": "2026-01-31T12:00:00.000Z",
            "times": {"all": ["2026-01-31T12:00:00.000Z", "2026-01-31T12:00:00.123Z"]},
            "day": "2026-01-31",
            "took": "PT1.5S",
            "until": None,
        }
    ]
    assert msgspec.json.decode(to_json(row)) == msgspec.json.decode(to_json([row]))[0]
