"""All streams in one file, and back: the format, who writes and reads it, export and import."""
