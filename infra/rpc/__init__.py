"""gRPC between the services: one way to serve, one way to call, and what travels with every call."""
