"""The five services and the gateway, all of one inner shape."""
