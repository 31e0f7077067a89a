"""One HTTP request: decode, dispatch, respond."""
