"""The HTTP server: uvicorn, its protocols and their limits."""
