"""Reactions: effects of events in the world, each done at least once, whose failures are parked for an operator."""
