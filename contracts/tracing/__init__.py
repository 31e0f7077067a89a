"""Tracing as every layer sees it: the header that names a span, and the interface of the process's tracer."""
