"""What an operator does to a projection that its service runs."""
