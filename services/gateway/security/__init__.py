"""Authentication, revocations, addresses and origins of callers."""
