"""gRPC between the services: server, client, authorization, TLS, and the context that travels with every call."""
