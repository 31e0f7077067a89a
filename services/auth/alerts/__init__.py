"""Alerts: the owner of an account is notified of what happens to it, and can say that it was not them."""
