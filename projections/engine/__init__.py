"""The projection engine: authors write `Projection`s, services start `Runners` and query `ReadModel`s."""

from projections.engine.changes import RowChanges, at_least, at_most, greater_than, less_than, other_than
from projections.engine.folds import folds
from projections.engine.lookups import row_of, rows_of
from projections.engine.projection import Projection, handles
from projections.engine.read_model import ReadModel
from projections.engine.row_tables import table_of
from projections.engine.running.runner_group import Runners
from projections.engine.waiting.position_waiter import PositionWaiter

__all__ = [
    "PositionWaiter",
    "Projection",
    "ReadModel",
    "RowChanges",
    "Runners",
    "at_least",
    "at_most",
    "folds",
    "greater_than",
    "handles",
    "less_than",
    "other_than",
    "row_of",
    "rows_of",
    "table_of",
]
