"""Commands that show, count, export, import and replay events."""
