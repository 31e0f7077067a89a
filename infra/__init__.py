"""Infrastructure without domain knowledge: settings, connections, servers, the supervisor, the command line."""
