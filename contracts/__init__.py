"""What the services agree on: data, no behaviour. Imports nothing of ours."""
