"""The size of a projection's batches: all rows that the events of one look up are in memory together."""

_FIRST, _FEWEST, _MOST = 2_000, 1_000, 20_000
# Rows, some hundred bytes each.
_MOST_ROWS = 50_000


class BatchSize:
    """Maximum events in a batch with lookups; follows from the number of rows that the last one has loaded."""

    def __init__(self) -> None:
        self.events = _FIRST

    def adapt(self, events: int, rows: int) -> None:
        """`events`: those of a batch that were applied; `rows`: the rows that they looked up."""
        if rows > _MOST_ROWS:
            self.events = max(self.events // 2, _FEWEST)
        # Twice as many events look up about twice as many rows, or more if the tables grow. A few events say little
        # about the next thousand.
        elif rows < _MOST_ROWS // 4 and events >= self.events // 4:
            self.events = min(self.events * 2, _MOST)
