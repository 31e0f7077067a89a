"""The file format of an export."""
