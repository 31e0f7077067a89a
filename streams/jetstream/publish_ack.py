"""Interpretation of the server's reply to an append."""

import msgspec

from contracts.errors import OutOfSpace, Unavailable
from streams.jetstream.api import ApiError, Refused
from streams.jetstream.requests import NoAnswer

# The condition did not hold; the second is usual under contention in a cluster.
_CONFLICTS = {10071, 10164}
# An event id of the batch is already stored: usually the batch itself was sent again.
_REPEATED_BATCH = 10201
# An earlier attempt with the same id is still in flight in the cluster.
_IN_PROCESS = 10158
# Messages of the batch are missing: a change of leader interrupted it, or one of them was refused.
_INCOMPLETE_BATCH = 10176
# The server's limit of open batches is reached; it abandons unfinished ones after 10 s.
_TOO_MANY_BATCHES = 10210
_NOT_THIS_TIME = {_REPEATED_BATCH, _INCOMPLETE_BATCH, _TOO_MANY_BATCHES}
# Seconds after which space may be available again.
_SPACE_PAUSE = 10


class Ack(msgspec.Struct, frozen=True):
    # The sequence of the event, or of the last one of a batch.
    seq: int = 0
    duplicate: bool = False
    error: ApiError | None = None


_ACK = msgspec.json.Decoder(Ack)


def decode(payload: bytes) -> Ack:
    """
    Raises:
        NoAnswer: this is no reply to an append, such as an empty or a truncated one: the outcome is uncertain.
    """
    try:
        ack = _ACK.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer from error
    if ack.error is None and ack.seq < 1:
        raise NoAnswer
    return ack


def says_repeated(ack: Ack) -> bool:
    """Whether the server reports a duplicate: it already has the id of one of the events."""
    return ack.duplicate or (ack.error is not None and ack.error.err_code == _REPEATED_BATCH)


def is_incomplete(ack: Ack) -> bool:
    """Whether messages of the batch are missing; nothing of it is stored."""
    return ack.error is not None and ack.error.err_code == _INCOMPLETE_BATCH


def is_conflict(ack: Ack) -> bool:
    """Whether the condition did not hold: nothing is stored."""
    return ack.error is not None and ack.error.err_code in _CONFLICTS


def needs_lookup(ack: Ack) -> bool:
    """Whether the events may already be stored, or another writer's in their place: only a lookup can tell."""
    return ack.duplicate or (ack.error is not None and ack.error.err_code in _CONFLICTS | {_REPEATED_BATCH})


def outcome_is_unknown(ack: Ack, uncertain: bool) -> bool:
    """Whether the outcome is uncertain after a reply that is not a plain success.

    `uncertain`: whether it was uncertain before.

    Raises:
        OutOfSpace: there is no space.
        Refused: the server will never accept this.
    """
    if ack.error is None or ack.error.err_code in _CONFLICTS | _NOT_THIS_TIME:
        return uncertain
    if ack.error.err_code == _IN_PROCESS:
        return True
    refused = Refused(ack.error)
    if refused.lacks_space:
        raise failure_of(refused)
    if refused.may_pass:
        return uncertain
    raise refused


def failure_of(refused: Refused) -> OutOfSpace | Unavailable:
    """Returns the error to raise for a refusal after which nothing is stored and the caller may retry."""
    error = OutOfSpace(retry_after=_SPACE_PAUSE) if refused.lacks_space else Unavailable()
    error.__cause__ = refused
    return error
