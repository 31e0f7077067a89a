"""Progress bars, tables and text for a terminal."""
