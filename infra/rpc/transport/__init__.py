"""Frames, codec and limits of gRPC connections."""
