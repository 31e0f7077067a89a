"""The end of messages that are older than the operator keeps them."""
