"""Positions, and the streams that the gateway follows."""
