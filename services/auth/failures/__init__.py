"""Failed logins: which are recorded, and how, outside of the answer's time."""
