"""The copy of their data that users request: made in the background as a ZIP file, kept encrypted for a day."""
