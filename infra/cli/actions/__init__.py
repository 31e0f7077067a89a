"""Records what operators do and look at on the command line, as the page does."""
