"""The auth service: registration, e-mail verification, login and password changes."""
