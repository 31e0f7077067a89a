"""What goes wrong in the event store, in the library's words: the names that PEP 249 gives to errors of databases."""

from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import DataError, IntegrityError, OperationalError, ProgrammingError

from contracts.errors import DeadlineExceeded, Overloaded, Unavailable
from streams.jetstream.api import Refused
from streams.jetstream.requests import RequestFailed
from streams.log import Conflict
from streams.reader import StreamWentBack
from streams.topology import DangerousStream, StreamMissing


@contextmanager
def in_the_librarys_words() -> Iterator[None]:
    """
    Raises:
        IntegrityError: another event stands where this one should; nothing was stored.
        OperationalError: the event store is out of reach or has no space; its words say if something may be stored.
        ProgrammingError: there is no such stream, or no right to use it, or its settings are not those of events.
        DataError: an event does not fit into a message, or events into a batch, or a message holds no event.
    """
    try:
        yield
    except Conflict as error:
        raise IntegrityError(str(error)) from error
    except (Unavailable, Overloaded, DeadlineExceeded, StreamWentBack, RequestFailed) as error:
        raise OperationalError(str(error)) from error
    except (Refused, PermissionError, StreamMissing, DangerousStream) as error:
        raise ProgrammingError(str(error)) from error
    except ValueError as error:
        raise DataError(str(error)) from error
