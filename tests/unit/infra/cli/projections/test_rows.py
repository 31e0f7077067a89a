"""Rows of a read model as JSON."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address

from psycopg.types.range import Range

from infra.cli.projections.rows import to_json


def test_a_value_of_any_type_has_a_form_in_json() -> None:
    row = {
        "at": datetime(2026, 1, 31, tzinfo=UTC),
        "amount": Decimal("1.50"),
        "from": ip_address("192.0.2.1"),
        "within": Range(1, 3),
        "nothing": None,
    }
    assert json.loads(to_json(row)) == {
        "at": "2026-01-31T00:00:00Z",
        "amount": "1.50",
        "from": "192.0.2.1",
        "within": "[1, 3)",
        "nothing": None,
    }
