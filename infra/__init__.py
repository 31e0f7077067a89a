"""What runs the house: settings, connections, servers, the supervisor, the command line. Knows no domain."""
