"""The SQL of row changes that no test database can check, since their collation is C."""

import pytest

from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.apply.writing.statements import statement
from projections.engine.changes import RowChanges, less_than
from tests.row_model import TABLE

ROWS = {"rows": TABLE}
KEY = {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("compared", "arguments"),
    [
        ('GREATEST(t."words" COLLATE "C", EXCLUDED."words" COLLATE "C")', {"greatest": {"words": "a"}}),
        ('(EXCLUDED."at", EXCLUDED."tie" COLLATE "C") < (t."at"', {"least_by": ({"at": 1, "tie": "a"}, {})}),
        ('t."tie" COLLATE "C" < s."where tie" COLLATE "C"', {"where": {"tie": less_than("a")}, "set": {"number": 1}}),
    ],
)
def test_texts_are_compared_by_code_points_whatever_the_collation_of_their_column(
    compared: str, arguments: dict[str, object]
) -> None:
    rows, write = MergedRows(Shapes(ROWS)), RowChanges()
    write.upsert("rows", key=KEY, **arguments)  # type: ignore[arg-type]  # one of the parameters
    rows.merge(write.changes)
    (group,) = rows.groups()
    assert compared in statement(group)[0].decode()
