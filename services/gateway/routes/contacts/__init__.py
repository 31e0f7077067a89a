"""Routes for friendships, blocks and reports."""
