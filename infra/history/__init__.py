"""The history of events and logins, for operators and auditors."""
