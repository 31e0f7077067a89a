"""Files served to browsers."""
