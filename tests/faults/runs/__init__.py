"""What is kept of each run, which the report sums: a file per run, and one of the newest result of each mutation."""
