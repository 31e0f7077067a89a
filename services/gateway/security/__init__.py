"""Authentication and revocation of access tokens; addresses and origins of callers."""
