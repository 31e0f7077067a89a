"""Reports of users and messages to the operators."""
