"""What an operator sees and does, with an operator's rights; for the page at /ops and for the command line."""
