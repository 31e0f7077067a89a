"""The data keys of personal data in events: their ids, and the key of each field."""
