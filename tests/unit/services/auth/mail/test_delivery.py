"""A mail is sent once, whatever becomes of its record."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from contracts import envelope
from contracts.envelope import Provenance
from contracts.errors import DeadlineExceeded, NoQuorum, OutOfSpace, VestnikError
from contracts.subjects import AUTH
from services.auth.claim_keys import ClaimKeys
from services.auth.mail import delivery
from services.auth.mail.delivery import Delivery
from services.auth.mail.templates import Mail
from services.auth.repositories import Aggregates
from streams.log import Append, Conflict
from streams.message import Message

LETTER = Mail(
    event_id="0192b7a4-0000-7000-8000-000000000001",
    asked_at=datetime(2026, 1, 2, tzinfo=UTC),
    recipient="anna@example.org",
    username="anna",
)


class Store:
    """A log in memory that refuses the first appends: an append that exceeds its deadline is stored all the same."""

    replicated = False

    def __init__(self, *refusals: VestnikError) -> None:
        self.refusals = list(refusals)
        self.stored: list[Message] = []

    async def last_stored(self, subject: str) -> Message | None:
        return self.stored[-1] if self.stored else None

    async def readable(self, messages: list[Message]) -> list[Message]:
        return messages

    async def read(self, subject: str, *, after: int = 0) -> list[Message]:
        return self.stored[after:]

    async def append_together(self, appends: list[Append]) -> list[int]:
        (append,) = appends
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None and not isinstance(refusal, DeadlineExceeded):
            raise refusal
        if append.expected != len(self.stored):
            raise Conflict(append.subject, append.expected)
        self.stored.append(Message(AUTH, len(self.stored) + 1, append.subject, envelope.encode(append.envelope), 0))
        if refusal is not None:
            raise refusal
        return [len(self.stored)]


class Outbox:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, mail: Mail) -> None:
        self.sent.append(mail.event_id)


@pytest.mark.parametrize(
    "refusals",
    [
        [OutOfSpace(), OutOfSpace(), OutOfSpace()],
        [NoQuorum()],
        # Stored, without an answer.
        [DeadlineExceeded()],
        [OutOfSpace(), DeadlineExceeded()],
    ],
)
async def test_a_store_that_refuses_the_record_sends_no_mail_again(
    refusals: list[VestnikError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_FIRST_PAUSE", 0.0)
    store, outbox = Store(*refusals), Outbox()
    keys = ClaimKeys(b"k" * 32)
    sending = Delivery(Aggregates(cast(Any, store)), keys, outbox, mails_an_hour=5)
    async with asyncio.timeout(10):
        assert await sending.deliver(LETTER, Provenance())
        # Of another replica, to which the event is delivered again.
        other = Delivery(Aggregates(cast(Any, store)), keys, outbox, mails_an_hour=5)
        assert await other.deliver(LETTER, Provenance())
    assert outbox.sent == [LETTER.event_id]
    assert len(store.stored) == 1
    assert not store.refusals
