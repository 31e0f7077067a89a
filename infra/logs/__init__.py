"""Process lifecycle: connections, files, sockets, logs, metrics."""
