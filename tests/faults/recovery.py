"""What each step of the schedule did to the people's messages: how long they waited, and what went wrong."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from tests.faults.checker.finding import Finding
from tests.faults.history import Fault, History, Outcome, Request

# Operations that are acknowledged when they are stored.
_WRITES = ("send",)
# Refusals after which the client tries again: an old token, too many requests.
_PASSING = (401, 429)
# How long after a fault's end a request that begins then is still put down to it, if no other fault has begun.
_AFTERMATH = 30.0
# By the part of a check's name: what its findings count as. All others are wrong answers or states.
_LOST = ("messages.lost", "messages.unread", "messages.gapped", "live.missed", "accounts.mails_never_sent")
_DOUBLED = ("messages.doubled", "live.doubled", "accounts.mails_sent_twice")


class Tally(msgspec.Struct):
    """How many findings there are of which kind."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def add(self, finding: Finding) -> None:
        if finding.check in _LOST:
            self.lost += 1
        elif finding.check in _DOUBLED:
            self.doubled += 1
        else:
            self.wrong += 1


class Recovery(msgspec.Struct, kw_only=True):
    """What one step of the schedule did."""

    # Of one fault, or of two at the same time.
    faults: tuple[str, ...]
    targets: tuple[str, ...]
    step: int
    begun: float
    ended: float
    # The longest that any message waited for its acknowledgement or its refusal, from its first attempt on. Of a fault
    # during which the system may be out: from the end of that on, if the message was sent before.
    seconds: float = 0.0
    # Messages that were acknowledged meanwhile and in the aftermath, and attempts that failed.
    acknowledged: int = 0
    failed: int = 0
    # What the checks found about a moment in that time.
    found: Tally = msgspec.field(default_factory=Tally)


class _Message(msgspec.Struct):
    """All attempts to send one message."""

    begun: float
    # By the first answer that ends the attempts; before there is one by the last attempt.
    ended: float = 0.0
    is_answered: bool = False
    is_acknowledged: bool = False
    failed: int = 0


class Recoveries:
    """The steps of a run, and what the parts of its history add to each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        groups = [list(group) for _, group in groupby(sorted(faults, key=_step), key=_step)]
        # In order; no two are at the same time.
        self.steps = [_recovery(group) for group in groups]
        # During an outage no wait counts, after it each does.
        self._counts_from = [
            max([step.begun, *(fault.ended for fault in group if fault.is_outage)])
            for step, group in zip(self.steps, groups, strict=True)
        ]
        self._next_begun = [*(step.begun for step in self.steps[1:]), float("inf")]
        self._untils = [
            min(begun, step.ended + _AFTERMATH) for step, begun in zip(self.steps, self._next_begun, strict=False)
        ]

    def add(self, history: History, findings: Iterable[Finding] = ()) -> None:
        """Adds the messages of a part of the history, and what was found in it."""
        for message in _messages(history.requests(*_WRITES)):
            for index in self._during(message.begun, message.ended):
                step, counts_from = self.steps[index], self._counts_from[index]
                # What it waits after the next step has begun is the next one's.
                ended = min(message.ended, self._next_begun[index])
                if ended > counts_from:
                    step.seconds = max(step.seconds, ended - max(message.begun, counts_from))
                step.acknowledged += message.is_acknowledged
                step.failed += message.failed
        for finding in findings:
            if finding.at is not None:
                for index in self._during(finding.at, finding.at):
                    self.steps[index].found.add(finding)

    def _during(self, begun: float, ended: float) -> Iterator[int]:
        """The steps that a time from begin to end overlaps with."""
        index = bisect_right(self._untils, begun)
        while index < len(self.steps) and self.steps[index].begun < ended:
            yield index
            index += 1


def _recovery(faults: Sequence[Fault]) -> Recovery:
    return Recovery(
        faults=tuple(sorted(fault.name for fault in faults)),
        targets=tuple(target for fault in faults for target in fault.targets),
        step=faults[0].step,
        begun=min(fault.begun for fault in faults),
        ended=max(fault.ended for fault in faults),
    )


def _messages(requests: Iterable[Request]) -> Iterable[_Message]:
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
    return messages.values()


def _step(fault: Fault) -> int:
    return fault.step
