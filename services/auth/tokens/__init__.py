"""Signed tokens: for e-mail verification, password reset and known devices."""
