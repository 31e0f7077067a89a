"""Live delivery: what happens to a user, told to each of its clients as it happens, once and in order."""
