"""Alerts: what the owner of an account is notified of."""
