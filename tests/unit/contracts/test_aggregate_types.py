"""Every event has a subject, which determines who may read it."""

import importlib
import inspect
import pkgutil
from collections import Counter
from contextlib import suppress

import pytest

import contracts.events
from contracts import subjects
from contracts.aggregate_types import AGGREGATE_TYPE_OF, AGGREGATE_TYPES, AggregateType
from contracts.catalogue import EVENTS
from contracts.events.event import Event
from contracts.subjects import PUBLIC_FILTERS, STREAMS


def matches(pattern: str, subject: str) -> bool:
    tokens, parts = pattern.split("."), subject.split(".")
    if tokens[-1] == ">":
        return len(parts) >= len(tokens) and tokens[:-1] == parts[: len(tokens) - 1]
    return len(tokens) == len(parts) and all(token in ("*", part) for token, part in zip(tokens, parts, strict=True))


def aggregate_subjects() -> set[str]:
    """The functions that make the subject of one aggregate."""
    names = set()
    for name, function in vars(subjects).items():
        if inspect.isfunction(function):
            with suppress(LookupError):
                subject = function(*inspect.signature(function).parameters)
                if isinstance(subject, str) and subject.startswith("vestnik.") and not set(subject) & set("*>"):
                    # A subject outside of the event streams is no aggregate's.
                    names |= {name} if subjects.stream_of(subject) in STREAMS else set()
    return names


def declared_events() -> set[type[Event]]:
    """Every class of events in contracts/events that has a type."""
    for module in pkgutil.iter_modules(contracts.events.__path__):
        importlib.import_module(f"contracts.events.{module.name}")
    return {event for event in subclasses(Event) if event.__module__.startswith("contracts.") and "TYPE" in vars(event)}


def subclasses(event: type[Event]) -> set[type[Event]]:
    return {event}.union(*map(subclasses, event.__subclasses__()))


def test_every_event_is_on_one_aggregate_type() -> None:
    counts = Counter(event.TYPE for channel in AGGREGATE_TYPES for event in channel.events)
    assert set(counts) == set(AGGREGATE_TYPE_OF) == set(EVENTS)
    assert {EVENTS[kind] for kind in counts} == declared_events()
    assert set(counts.values()) == {1}


def test_every_kind_of_subject_is_there() -> None:
    loss_events = {f"lost_in_{service}" for service in STREAMS.values()}
    assert {channel.name for channel in AGGREGATE_TYPES} == aggregate_subjects() | loss_events


@pytest.mark.parametrize("channel", AGGREGATE_TYPES, ids=lambda channel: channel.name)
def test_others_may_read_exactly_the_public_subjects(channel: AggregateType) -> None:
    assert {event.PRIVATE for event in channel.events} == {channel.private}
    public = matches(PUBLIC_FILTERS.get(channel.stream, ""), channel.subject(*channel.parameters))
    assert public is not channel.private


def test_an_address_names_what_the_subjects_differ_in() -> None:
    read = AGGREGATE_TYPE_OF["message.seen"]
    assert read.address == "vestnik.messaging.read.{conversation_id}.{user_id}"
    assert read.pattern == "vestnik.messaging.read.*.*"
    assert (read.stream, read.owner) == ("MESSAGING", "messaging")
