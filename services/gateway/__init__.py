"""The gateway: REST, server-sent events and WebSockets in front of the services. All of its state can be rebuilt."""
