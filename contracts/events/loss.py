"""Placeholders for events that a stream has lost at its end, once an operator has accepted the loss.

There is one for each lost sequence, and for some sequences after them, so that no other event gets a sequence that a
reader may have seen. No code reacts to them.
"""

from typing import ClassVar

from contracts.events.event import Event


class AuthEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that AUTH has lost."""

    TYPE: ClassVar[str] = "auth.events_lost"
    PRIVATE: ClassVar[bool] = True
    # The whole range of sequences that is accepted as lost.
    first: int
    last: int


class SessionEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that SESSION has lost."""

    TYPE: ClassVar[str] = "session.events_lost"
    PRIVATE: ClassVar[bool] = True
    first: int
    last: int


class ProfileEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that PROFILE has lost."""

    TYPE: ClassVar[str] = "profile.events_lost"
    PRIVATE: ClassVar[bool] = True
    first: int
    last: int


class ContactEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that CONTACT has lost."""

    TYPE: ClassVar[str] = "contact.events_lost"
    PRIVATE: ClassVar[bool] = True
    first: int
    last: int


class MessagingEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that MESSAGING has lost."""

    TYPE: ClassVar[str] = "messaging.events_lost"
    first: int
    last: int


class OperatorEventsLost(Event, frozen=True, kw_only=True):
    """In the place of one of the events that OPERATOR has lost."""

    TYPE: ClassVar[str] = "operator.events_lost"
    PRIVATE: ClassVar[bool] = True
    first: int
    last: int
