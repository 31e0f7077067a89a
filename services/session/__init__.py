"""Who is logged in where: sessions, their refresh tokens and access tokens."""
