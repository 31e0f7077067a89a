"""Change of an account's e-mail address: request, confirmation, and undo by the earlier address."""
