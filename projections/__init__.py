"""One file is one read model; `engine` runs them, `registry` finds them."""
