"""The profile service: public profiles, their search, and the reaction that creates one for each new user."""
