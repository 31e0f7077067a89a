"""The gateway: REST, server-sent events and WebSockets for clients. All of its state can be rebuilt."""
