"""The messaging service: conversations, read marks and notifications."""
