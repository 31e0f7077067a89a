"""Reads the streams of a projection."""
