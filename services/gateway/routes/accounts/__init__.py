"""Routes on users, sessions and passwords."""
