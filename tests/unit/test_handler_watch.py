"""The handler watch reports the calls of handlers, and not those of the garbage collector."""

import gc
import time

from contracts.envelope import Provenance, Recorded, open_event, seal
from contracts.events.event import Event
from contracts.events.message import MessageSent
from contracts.subjects import MESSAGING, conversation
from contracts.values.ids import new_id
from projections.engine import Projection, RowChanges, handles
from tests.handler_watch import HandlerWatch


class Littering(Projection):
    streams = (MESSAGING,)
    tables = "CREATE TABLE {littering} (id uuid PRIMARY KEY, lists integer)"

    @handles(MessageSent)
    def writing(self, event: Recorded[MessageSent], write: RowChanges) -> None:
        lists = [list[int]() for _ in range(10_000)]
        write.upsert("littering", key={"id": event.aggregate_id}, set={"lists": len(lists)})


def sent() -> Recorded[Event]:
    conversation_id = new_id()
    event = MessageSent(
        message_id=new_id(), sender_id=new_id(), recipient_id=new_id(), sequence=1, text="x", client_message_id="c"
    )
    envelope = seal(event, aggregate_id=conversation_id, version=1, provenance=Provenance())
    return open_event(envelope, stream=MESSAGING, sequence=1, subject=conversation(conversation_id))


def test_what_a_garbage_collection_calls_is_not_the_handlers() -> None:
    def collecting(phase: str, info: dict[str, int]) -> None:
        time.perf_counter()

    watch, event = HandlerWatch(), sent()
    [handler] = watch.watched(Littering)().handlers()[MessageSent.TYPE]
    gc.callbacks.append(collecting)
    try:
        handler(event, RowChanges())
    finally:
        gc.callbacks.remove(collecting)
    watch.check()
