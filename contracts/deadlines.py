"""Time limits of requests, in seconds: the single source for all parts of the system."""

# From a request's arrival at the gateway, with its body read, to its response; no call between services is longer.
REQUEST = 10.0
# For a service's work at the event store: shorter, so that the known outcome still reaches the client. A cluster elects
# a new leader within this time.
EVENT_STORE = 9.0
# At shutdown, for requests in progress.
DRAIN = 12.0
