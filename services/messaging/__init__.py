"""Conversations: messages sent and seen, and the notifications about them."""
