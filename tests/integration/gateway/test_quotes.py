"""Live events of replies have the text that they quote, as it is now, unless messaging does not answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import now
from contracts.events.message import MessageDeleted, MessageEdited, MessageSent, RepliedTo
from contracts.rpc.vestnik.messaging.v1 import GetQuotesRequest, GetQuotesResponse, QuotedText
from contracts.values.ids import new_id, pair_id
from tests.conditions import until
from tests.integration.gateway.conftest import Harness
from tests.integration.gateway.two_gateways import Gateways, events, two_gateways
from tests.sse_client import Json, connect


@pytest_asyncio.fixture
async def gateways(tmp_path: Path, streams: NATS) -> AsyncIterator[Gateways]:
    async with two_gateways(tmp_path, streams) as gateways:
        yield gateways


class Conversation:
    """Anna and Boris, whose first message no gateway has in memory."""

    def __init__(self, gateways: Gateways) -> None:
        self.gateways = gateways
        self.id = pair_id(gateways.anna, gateways.boris)
        self.first = new_id()
        self.sequence = 1
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        for harness in (gateways.one, gateways.other):
            harness.script.answers["get_quotes"] = self._quotes
            # A held answer must not time out on a slow machine.
            harness.context.live._quotes._patience = 60.0

    async def _quotes(self) -> GetQuotesResponse:
        await self.may_answer.wait()
        return GetQuotesResponse(quotes=[QuotedText(message_id=self.first, text="first")])

    async def writes(self, text: str, answered: str = "", number: int = 1) -> str:
        """Boris writes to Anna; `answered`: the id of the message that it answers, and its `number`."""
        self.sequence += 1
        message_id = new_id()
        await self._append(
            MessageSent(
                message_id=message_id,
                sender_id=self.gateways.boris,
                recipient_id=self.gateways.anna,
                sequence=self.sequence,
                text=text,
                client_message_id=message_id,
                reply_to=RepliedTo(message_id=answered, sequence=number, sender_id=self.gateways.anna)
                if answered
                else None,
            )
        )
        return message_id

    async def _append(self, event: MessageSent) -> None:
        await self.gateways.one.append(subjects.conversation(self.id), self.id, event)

    async def changes(self, text: str | None) -> None:
        """Anna edits the first message, or deletes it (None)."""
        about = {
            "message_id": self.first,
            "conversation_id": self.id,
            "sequence": 1,
            "sender_id": self.gateways.anna,
            "sent_at": now(),
            "members": (self.gateways.anna, self.gateways.boris),
        }
        event = MessageDeleted(**about) if text is None else MessageEdited(text=text, **about)  # type: ignore[arg-type]
        await self.gateways.one.append(subjects.message(self.first), self.first, event)

    def requests(self, harness: Harness) -> list[GetQuotesRequest]:
        return [request for method, request, _ in harness.script.asked if isinstance(request, GetQuotesRequest)]


def quotes(messages: list[Json]) -> list[tuple[str, object]]:
    """The text of each message, and the text that it quotes."""
    return [(message["text"], message.get("reply_to", {}).get("text")) for message in messages]


async def test_a_reply_quotes_the_text_at_every_gateway_and_asks_once_for_what_is_not_in_memory(
    gateways: Gateways,
) -> None:
    conversation = Conversation(gateways)
    one, other = gateways.one, gateways.other
    async with gateways.listening(one, gateways.anna) as annas, gateways.listening(other, gateways.boris) as boriss:
        second = await conversation.writes("second")
        await conversation.writes("old", conversation.first)
        await conversation.writes("new", second, 2)
        for stream, harness in ((annas, one), (boriss, other)):
            shown = await events(stream, "message.sent", 3)
            assert quotes(shown) == [("second", None), ("old", "first"), ("new", "second")]
            [request] = conversation.requests(harness)
            assert [(asked.conversation_id, asked.sequence) for asked in request.messages] == [(conversation.id, 1)]


async def test_a_reply_that_waits_for_its_quote_holds_up_its_readers_alone(gateways: Gateways) -> None:
    conversation = Conversation(gateways)
    conversation.may_answer.clear()
    one = gateways.one
    pair = pair_id(gateways.anna, gateways.carl)
    async with gateways.listening(one, gateways.boris) as boriss, gateways.listening(one, gateways.carl) as carls:
        await conversation.writes("reply", conversation.first)
        await conversation.writes("behind it")
        await until(lambda: bool(conversation.requests(one)))
        elsewhere = MessageSent(
            message_id=new_id(),
            sender_id=gateways.anna,
            recipient_id=gateways.carl,
            sequence=1,
            text="elsewhere",
            client_message_id="c",
        )
        await one.append(subjects.conversation(pair), pair, elsewhere)
        assert quotes(await events(carls, "message.sent", 1)) == [("elsewhere", None)]
        assert boriss.events == []
        conversation.may_answer.set()
        assert quotes(await events(boriss, "message.sent", 2)) == [("reply", "first"), ("behind it", None)]


async def test_without_an_answer_of_messaging_a_reply_is_delivered_without_the_text(gateways: Gateways) -> None:
    conversation = Conversation(gateways)
    conversation.may_answer.clear()
    live = gateways.one.context.live
    # Long enough for the request to arrive on a slow machine.
    live._quotes._patience = 2.0
    async with gateways.listening(gateways.one, gateways.anna) as annas:
        await conversation.writes("reply", conversation.first)
        await conversation.writes("behind it")
        assert quotes(await events(annas, "message.sent", 2)) == [("reply", None), ("behind it", None)]
        await until(lambda: live._quotes._resumes_at > 0)
        # For a while other replies wait for nothing.
        live._quotes._patience, live._quotes._resumes_at = 60.0, float("inf")
        await conversation.writes("meanwhile", conversation.first)
        assert quotes(await events(annas, "message.sent", 3))[2] == ("meanwhile", None)
        assert len(conversation.requests(gateways.one)) == 1
        live._quotes._patience, live._quotes._resumes_at = 60.0, 0.0
        conversation.may_answer.set()
        await conversation.writes("again", conversation.first)
        assert quotes(await events(annas, "message.sent", 4))[3] == ("again", "first")


@pytest.mark.parametrize("text", ["edited", None])
async def test_a_quote_that_changes_during_the_look_up_and_after_it_shows_what_its_message_shows(
    gateways: Gateways, text: str | None
) -> None:
    conversation = Conversation(gateways)
    conversation.may_answer.clear()
    one = gateways.one
    shown = {"message_id": conversation.first, "sequence": 1, "sender_id": gateways.anna}
    changed = {**shown, "text": text} if text is not None else {**shown, "text": "", "deleted": True}
    url = str(one.client.base_url).rstrip("/")
    async with gateways.listening(one, gateways.anna) as annas:
        await conversation.writes("begin")
        await events(annas, "message.sent", 1)
        begin = annas.events[0].id
        await conversation.writes("reply", conversation.first)
        await until(lambda: bool(conversation.requests(one)))
        await conversation.changes(text)
        # The answer, which is older, comes after the change.
        reply = (await events(annas, "message.sent", 2))[1]
        assert reply["reply_to"] == changed
        conversation.may_answer.set()
        kind = "message.deleted" if text is None else "message.edited"
        await events(annas, kind, 1)
    # From memory.
    stream = await connect(url, gateways.token(one, gateways.anna), last_event_id=begin)
    try:
        [reply] = await events(stream, "message.sent", 1)
        assert reply["reply_to"] == changed
        await conversation.changes(None)
        await events(stream, "message.deleted", 1 if text is not None else 2)
    finally:
        stream.close()
    stream = await connect(url, gateways.token(one, gateways.anna), last_event_id=begin)
    try:
        [reply] = await events(stream, "message.sent", 1)
        assert reply["reply_to"] == {**shown, "text": "", "deleted": True}
    finally:
        stream.close()
