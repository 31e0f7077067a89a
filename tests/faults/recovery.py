"""Time to recovery: how long requests waited for their answers because of each fault."""

from collections.abc import Sequence
from itertools import groupby

import msgspec

from tests.faults.history import Fault, History, Outcome, Request

# Operations that are acknowledged when they are stored.
_WRITES = ("send",)
# Refusals after which the client tries again: an old token, too many requests.
_PASSING = (401, 429)
# How long after a fault's end a request that begins then is still put down to it, if no other fault has begun.
_AFTERMATH = 30.0


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of the schedule did to the people's messages."""

    # Of one fault, or of two at the same time.
    faults: tuple[str, ...]
    targets: tuple[str, ...]
    step: int
    # The longest that any message waited for its acknowledgement or its refusal, from its first attempt on. Of a fault
    # during which the system may be out: from the end of that on, if the message was sent before.
    seconds: float
    # Messages that were acknowledged meanwhile, and attempts that failed.
    acknowledged: int
    failed: int


class _Message(msgspec.Struct):
    """All attempts to send one message."""

    begun: float
    # By the first answer that ends the attempts; before there is one by the last attempt.
    ended: float = 0.0
    is_answered: bool = False
    is_acknowledged: bool = False
    failed: int = 0


def recoveries(history: History) -> list[Recovery]:
    """One for each step of the schedule, in order."""
    steps = [list(faults) for _, faults in groupby(sorted(history.of(Fault), key=_step), key=_step)]
    messages = sorted(_messages(history.requests(*_WRITES)), key=lambda message: message.begun)
    begins = [min(fault.begun for fault in faults) for faults in steps[1:]]
    return [_recovery(faults, messages, until) for faults, until in zip(steps, [*begins, float("inf")], strict=True)]


def _recovery(faults: Sequence[Fault], messages: Sequence[_Message], until: float) -> Recovery:
    begun, ended = min(fault.begun for fault in faults), max(fault.ended for fault in faults)
    until = min(until, ended + _AFTERMATH)
    # During an outage no wait counts, after it each does.
    counts_from = max([begun, *(fault.ended for fault in faults if fault.is_outage)])
    own = [message for message in messages if message.begun < until and message.ended > begun]
    waits = [message.ended - max(message.begun, counts_from) for message in own if message.ended > counts_from]
    return Recovery(
        faults=tuple(sorted(fault.name for fault in faults)),
        targets=tuple(target for fault in faults for target in fault.targets),
        step=faults[0].step,
        seconds=max(waits, default=0.0),
        acknowledged=sum(message.is_acknowledged for message in own),
        failed=sum(message.failed for message in own),
    )


def _messages(requests: Sequence[Request]) -> list[_Message]:
    messages: dict[tuple[str, str], _Message] = {}
    for request in sorted(requests, key=lambda request: request.ended):
        key = request.user_id, request.arguments["client_message_id"]
        message = messages.setdefault(key, _Message(request.started))
        message.begun = min(message.begun, request.started)
        if not message.is_answered:
            message.ended = request.ended
        message.is_answered |= request.outcome is not Outcome.UNKNOWN and request.status not in _PASSING
        message.is_acknowledged |= request.outcome is Outcome.OK
        message.failed += request.outcome is Outcome.UNKNOWN
    return list(messages.values())


def _step(fault: Fault) -> int:
    return fault.step
