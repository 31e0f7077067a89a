"""Recorders of the `eventsourcing` library on the event store; streams/recorder.py is the entry point."""
