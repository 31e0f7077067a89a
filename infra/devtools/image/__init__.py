"""Checks the image without a container engine: lint, the steps of the Containerfile, the result, and its start."""
