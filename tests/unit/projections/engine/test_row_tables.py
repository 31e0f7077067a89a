"""A table follows from the struct of its rows."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from projections.engine.row_tables import table_of


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Plain(Enum):
    ONE = "one"
    TWO = "two"


class Mixed(Enum):
    ONE = "one"
    TWO = 2


class Point(msgspec.Struct):
    x: int


class Row(msgspec.Struct):
    flag: bool
    number: Annotated[int, msgspec.Meta(ge=0)]
    part: float
    sum: Decimal
    text: str | None
    bytes: bytes
    id: UUID
    day: date
    at: datetime | None
    took: timedelta
    texts: list[str]
    numbers: tuple[int, ...] | None
    point: Point
    points: list[Point]
    counts: dict[str, int]
    colour: Colour
    level: Level
    plain: Plain
    order: int
    peer: str


def test_each_field_is_a_column_of_its_type() -> None:
    assert table_of("rows", Row, key={"a": "uuid", "b": "bigint"}, columns={"peer": "uuid"}) == (
        'CREATE TABLE {rows} ("a" uuid, "b" bigint, "flag" boolean NOT NULL, "number" bigint NOT NULL,'
        ' "part" double precision NOT NULL, "sum" numeric NOT NULL, "text" text, "bytes" bytea NOT NULL,'
        ' "id" uuid NOT NULL, "day" date NOT NULL, "at" timestamptz, "took" interval NOT NULL,'
        ' "texts" text[] NOT NULL, "numbers" bigint[], "point" jsonb NOT NULL, "points" jsonb NOT NULL,'
        ' "counts" jsonb NOT NULL, "colour" text NOT NULL, "level" bigint NOT NULL, "plain" text NOT NULL,'
        ' "order" bigint NOT NULL, "peer" uuid NOT NULL, PRIMARY KEY ("a", "b"));\n'
    )


def test_a_field_without_a_column_type_is_named() -> None:
    class Anything(msgspec.Struct):
        value: Any

    with pytest.raises(ValueError, match=r"no column type follows from Anything\.value"):
        table_of("rows", Anything, key={"a": "uuid"})
    assert '"value" jsonb NOT NULL' in table_of("rows", Anything, key={"a": "uuid"}, columns={"value": "jsonb"})


def test_an_enumeration_of_several_types_has_no_column_type() -> None:
    class Mixture(msgspec.Struct):
        value: Mixed

    with pytest.raises(ValueError, match=r"no column type follows from Mixture\.value"):
        table_of("rows", Mixture, key={"a": "uuid"})


def test_a_column_type_of_no_field_is_named() -> None:
    with pytest.raises(ValueError, match="Point has no field y"):
        table_of("rows", Point, key={"a": "uuid"}, columns={"y": "uuid"})
