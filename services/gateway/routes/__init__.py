"""Routes of the public API, one module per resource; `ROUTES` of each module is served and documented."""
