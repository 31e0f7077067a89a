"""The read models, one projection per module; `engine` runs them, `registry` finds them."""
