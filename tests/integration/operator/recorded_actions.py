"""What the stream has recorded of operators' actions."""

from contracts.events.event import Event
from contracts.subjects import operator_action
from streams.log import Log


async def recorded(log: Log) -> list[Event]:
    return [message.open().data for message in await log.read(operator_action("*"))]
