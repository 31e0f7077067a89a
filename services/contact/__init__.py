"""Who knows whom: friendships asked for, accepted and ended."""
