"""What a person shows of themselves: profiles, their search, and the reaction that makes one for each new user."""
