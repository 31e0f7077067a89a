"""Which errors of a runner are faults of its projection, and which pass by themselves."""

from nats.errors import Error as NatsError
from psycopg import Error as DatabaseError
from psycopg import InterfaceError, OperationalError

from contracts.errors import VestnikError
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Conflict
from streams.reader import StreamWentBack
from streams.topology import StreamMissing

# Errors of a lost connection, a restarted server or a missing stream.
_PASSING = (
    StreamWentBack,
    Conflict,
    NatsError,
    OSError,
    Refused,
    RequestFailed,
    StreamMissing,
    TimeoutError,
    VestnikError,
)


def is_fault(error: Exception) -> bool:
    """Whether the projection's code or tables cause the error: of the database's errors, those about its statements."""
    if isinstance(error, DatabaseError):
        return not isinstance(error, OperationalError | InterfaceError)
    return not isinstance(error, _PASSING)
