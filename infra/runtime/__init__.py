"""The life of a process: connections, files, sockets, logs, metrics."""
