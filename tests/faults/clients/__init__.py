"""The clients of a run under faults: steady traffic whose requests, answers and live events are recorded."""
