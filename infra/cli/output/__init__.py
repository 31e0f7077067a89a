"""Progress bars and text for a terminal."""
