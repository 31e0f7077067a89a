"""Group commit and flat combining of appends."""
