"""Commands that run, configure and inspect a deployment."""
