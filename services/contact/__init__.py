"""The contact service: friend requests and friendships."""
