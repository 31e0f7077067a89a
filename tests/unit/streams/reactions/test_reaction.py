"""A reaction's effects by event."""

from typing import ClassVar

import pytest

from contracts.durable_consumers import PROFILE_CREATION, Durable
from contracts.envelope import Recorded
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.events.user import CredentialSet, UserCreated, UserEmailVerified
from streams.reactions.reaction import Reaction, reacts_to


class Welcome(Reaction):
    durable: ClassVar[Durable] = PROFILE_CREATION

    @reacts_to(UserCreated, UserEmailVerified)
    async def greet(self, event: Recorded[Event]) -> None: ...


class Twice(Welcome):
    @reacts_to(UserCreated)
    async def again(self, event: Recorded[UserCreated]) -> None: ...


def test_a_method_is_the_effect_of_the_events_that_it_is_marked_with() -> None:
    welcome = Welcome()
    assert welcome.effects() == {UserCreated.TYPE: welcome.greet, UserEmailVerified.TYPE: welcome.greet}


def test_an_event_has_one_effect() -> None:
    with pytest.raises(ValueError, match=r"Twice\.again: user\.created has two effects"):
        Twice().effects()


class OfAnotherStream(Welcome):
    @reacts_to(MessageSent)
    async def sent(self, event: Recorded[MessageSent]) -> None: ...


class OfAnotherSubject(Welcome):
    @reacts_to(CredentialSet)
    async def changed(self, event: Recorded[CredentialSet]) -> None: ...


@pytest.mark.parametrize(("reaction", "event"), [(OfAnotherStream, "message.sent"), (OfAnotherSubject, "credential")])
def test_an_event_that_the_consumer_never_delivers_has_no_effect(reaction: type[Reaction], event: str) -> None:
    with pytest.raises(ValueError, match=f"profile-creation does not deliver {event}"):
        reaction().effects()
