"""Rules of registration and verification."""
