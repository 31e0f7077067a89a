"""The edge to clients: REST over HTTP, answered by the services behind. Holds no state that it cannot rebuild."""
