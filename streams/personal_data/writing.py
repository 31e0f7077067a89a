"""Sealing of what is appended, with the keys of the connection: everything that a log appends, whoever decided it.

As for reading, the keys belong to the connection, and `main.py` sets them once. A connection without keys appends what
it is given: that of the command line, whose acts name no account, and those of tests.
"""

from collections.abc import Sequence

from nats.aio.client import Client

from contracts.catalogue import EVENTS
from contracts.envelope import Envelope
from streams.personal_data.fields import fields_of
from streams.personal_data.sealer import Sealer

_SEALER = "_vestnik_sealer"
# The event types with personal data.
PERSONAL_TYPES = frozenset(kind for kind, event_type in EVENTS.items() if fields_of(event_type))


def seal_with(nc: Client, sealer: Sealer) -> None:
    """Has all logs of the connection seal the personal data in what they append."""
    setattr(nc, _SEALER, sealer)


async def sealed(nc: Client, envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    """The envelopes as they are to be stored; does not suspend the task while the keys are cached.

    Raises:
        UserNotFound: personal data in them is that of a person who was erased.
        MessageNotFound: it is about a message whose text was erased.
        KeysUnavailable: a key cannot be had or created now.
    """
    sealer: Sealer | None = getattr(nc, _SEALER, None)
    return envelopes if sealer is None else await sealer.seal_envelopes(envelopes)
