"""How long a request may take, in seconds; every part takes its own limit from here."""

# From a request's arrival at the gateway, its body read, to its answer; no call between services is longer.
REQUEST = 10.0
# For a service's work at the event store: less, so that what is known of the outcome reaches the client. A cluster has
# a new leader within it.
EVENT_STORE = 9.0
# At a stop, for the requests at work.
DRAIN = 12.0
