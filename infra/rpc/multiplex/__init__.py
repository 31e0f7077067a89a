"""Multiplexes many gRPC calls over one bidirectional stream between two processes."""
