"""Status and lag of projections."""
