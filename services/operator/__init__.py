"""The operator's service: everything an operator sees and does on the page at /ops and the command line."""
