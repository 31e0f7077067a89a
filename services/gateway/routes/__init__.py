"""The routes of the public interface, one module a resource; `ROUTES` of each is what is served and documented."""
