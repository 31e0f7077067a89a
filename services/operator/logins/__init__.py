"""The login audit of the operators' page, and the end of a session by an operator."""
