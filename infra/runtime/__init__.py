"""Process lifecycle: connections, files, sockets, metrics."""
