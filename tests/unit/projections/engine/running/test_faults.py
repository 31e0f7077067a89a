"""A lost connection passes by itself; an error of the projection's code or tables does not."""

import pytest
from nats.errors import ConnectionClosedError
from psycopg import InterfaceError, OperationalError, errors

from contracts.errors import KeysUnavailable
from projections.engine.running.faults import is_fault
from projections.engine.storage.tables import BadTables


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("the connection is lost"),
        InterfaceError("the connection is closed"),
        ConnectionClosedError(),
        ConnectionRefusedError(),
        TimeoutError(),
        KeysUnavailable("no key"),
    ],
)
def test_what_ends_with_the_servers_return_is_no_fault(error: Exception) -> None:
    assert not is_fault(error)


@pytest.mark.parametrize("error", [ValueError("a handler"), BadTables("no table"), errors.UndefinedTable("no table")])
def test_what_the_projection_causes_is_a_fault(error: Exception) -> None:
    assert is_fault(error)
