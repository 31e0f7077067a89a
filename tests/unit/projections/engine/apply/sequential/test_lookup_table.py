"""Changes of looked-up rows are evaluated as the database would."""

from decimal import Decimal

import msgspec

from projections.engine import RowChanges, row_of
from projections.engine.apply.sequential.lookup_table import LookupTable
from projections.engine.storage.tables import Table


class Sum(msgspec.Struct, frozen=True):
    amount: Decimal


def test_a_sum_of_many_digits_is_exact() -> None:
    table = Table("sums", "sums_v1_b1", ("id",), {"id": "bigint", "amount": "numeric"})
    looked_up = LookupTable("sums", table, [row_of("sums", Sum, key=lambda event: {"id": 1})])
    looked_up.defaults = {"id": None, "amount": None}
    write = RowChanges()
    write.upsert("sums", key={"id": 1}, add={"amount": Decimal("0.1")})
    row = looked_up.changed({"id": 1, "amount": Decimal(10**40)}, {"id": 1}, write.changes[0])
    assert row == {"id": 1, "amount": Decimal(f"1{'0' * 40}.1")}
