"""Every new user gets a profile: a reaction to `user.created`, which keeps its place in JetStream.

The durable consumer is shared by all replicas; each event goes to one of them and comes again until it is
acknowledged. Making a profile that is there already does nothing, so a second delivery is harmless.
"""

import asyncio
import logging

import msgspec
import nats.errors
from nats.aio.client import Client as NATS
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import APIError

from contracts.envelope import Provenance, Recorded
from contracts.errors import VestnikError
from contracts.event import Event
from contracts.events.user import UserCreated
from contracts.personal import plain
from contracts.subjects import AUTH, PUBLIC_FILTERS
from services.profile.commands import ProfileCommands
from services.profile.domain import CreateProfile
from streams.message import Message

log = logging.getLogger(__name__)

DURABLE = "profile-creation"
# An event that was not acknowledged by then is delivered again, seconds.
_ACK_WAIT = 30.0
# After a failure, seconds.
_RETRY = 1.0
_BATCH = 100
_PATIENCE = 5.0


async def create_profiles(nats_client: NATS, commands: ProfileCommands) -> None:
    """Reacts for as long as the process lives; what fails is tried again."""
    js = nats_client.jetstream()
    subscription: JetStreamContext.PullSubscription | None = None
    while True:
        try:
            if subscription is None:
                subscription = await _subscribe(js)
            messages = await subscription.fetch(_BATCH, timeout=_PATIENCE)
        except nats.errors.TimeoutError:
            continue
        except (nats.errors.Error, APIError) as error:
            # The stream is not there yet, its leader is moving, or the connection is down.
            log.warning("profile creation waits: %s", error or type(error).__name__)
            subscription = None
            await asyncio.sleep(_RETRY)
            continue
        async with asyncio.TaskGroup() as group:
            for message in messages:
                group.create_task(_react(message, commands))


async def _subscribe(js: JetStreamContext) -> JetStreamContext.PullSubscription:
    config = ConsumerConfig(
        durable_name=DURABLE,
        filter_subject=PUBLIC_FILTERS[AUTH],
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=_ACK_WAIT,
        max_ack_pending=1_000,
    )
    await js.add_consumer(AUTH, config)
    return await js.pull_subscribe_bind(durable=DURABLE, stream=AUTH)


async def _react(message: Msg, commands: ProfileCommands) -> None:
    try:
        event = _open(message)
        if event is not None:
            await _create(event, commands)
    except VestnikError as error:
        log.warning("profile creation will be tried again: %s", error)
        await message.nak(delay=_RETRY)
        return
    await message.ack()


async def _create(event: Recorded[Event], commands: ProfileCommands) -> None:
    if not isinstance(event.data, UserCreated):
        return
    command = CreateProfile(username=event.data.username, display_name=plain(event.data.display_name))
    provenance = Provenance(correlation_id=event.correlation_id, causation_id=event.id)
    await commands.create(event.aggregate_id, command, provenance)


def _open(message: Msg) -> Recorded[Event] | None:
    """The event; None where it is none that this program could read: the dead letters of the projections show it."""
    sequence = message.metadata.sequence.stream
    try:
        return Message(AUTH, sequence, message.subject, message.data).open()
    except (msgspec.DecodeError, LookupError) as error:
        log.error("cannot read the event at %d of %s: %s", sequence, AUTH, error)
        return None
