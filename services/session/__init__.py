"""The session service: sessions, their refresh tokens and access tokens."""
