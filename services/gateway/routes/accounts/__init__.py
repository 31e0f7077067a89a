"""Routes for users, sessions and passwords."""
