"""A reader's settings of a conversation: muted, pinned, archived, and their draft."""
