"""Translates the event store's errors into the library's, which have the names of PEP 249."""

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
    """Translates the errors raised within the context.

    Raises:
        IntegrityError: another event is stored in this one's place; nothing was stored.
        OperationalError: the event store is unreachable or has no space; the message tells if something may be stored.
        ProgrammingError: the stream does not exist, may not be used, or does not have the settings of events.
        DataError: an event does not fit into a message, or events into a batch, or a message contains no event.
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
