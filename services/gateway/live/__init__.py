"""Live delivery: each user's events are delivered to each of their clients, once and in order."""
