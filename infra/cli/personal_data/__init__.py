"""Commands on personal data in events."""
