"""Signed tokens in mails and on devices."""
