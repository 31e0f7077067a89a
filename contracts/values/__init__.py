"""Small value types and their codecs."""
