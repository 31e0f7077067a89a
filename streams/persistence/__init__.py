"""The event store behind the recorders of the `eventsourcing` library; streams/recorder.py is its entrance."""
