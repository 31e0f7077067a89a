"""Positions inside a range of lost events are refused; all others are accepted."""

import pytest
from nats.aio.client import Client

from contracts.errors import HistoryChanged
from contracts.notification_kinds import NOTIFIED_MESSAGING
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from services.gateway.consistency.accepted_losses import GivenUp
from streams.jetstream.api import JetStream
from streams.loss.missing_events import Gap, accept


async def test_only_a_position_within_an_end_that_was_given_up_is_refused(streams: Client) -> None:
    given_up = GivenUp(streams)
    await given_up.refresh()
    given_up.assert_current(Position.at(MESSAGING, 15))
    await accept(JetStream(streams), [Gap(MESSAGING, 10, 20)], "an operator", filled=True)
    # Between other events everybody goes on, whether they have seen it or not.
    await accept(JetStream(streams), [Gap(CONTACT, 15, 15)], "an operator")
    await given_up.refresh()
    for current in ({MESSAGING: 9}, {MESSAGING: 20}, {MESSAGING: 21}, {CONTACT: 15}, {NOTIFIED_MESSAGING: 9}):
        given_up.assert_current(Position(current))
    for old in ({MESSAGING: 10}, {MESSAGING: 19}, {CONTACT: 1, MESSAGING: 15}, {NOTIFIED_MESSAGING: 12}):
        with pytest.raises(HistoryChanged):
            given_up.assert_current(Position(old))
