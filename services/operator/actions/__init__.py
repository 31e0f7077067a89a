"""Records what operators do and look at, through the page or the command line."""
