"""Texts of quoted messages are looked up together, and are never older than what is published."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from contracts.errors import Unavailable
from contracts.values.field_types import MOST_QUOTES
from services.gateway.cache.quote_texts import Quoted, QuotedText, QuotedTexts, QuoteTexts

FIRST, SECOND = Quoted("first", "conversation", 1), Quoted("second", "conversation", 2)
LONG = 60.0


class Messaging:
    """Answers a request once it is allowed to."""

    def __init__(self) -> None:
        self.requests: list[tuple[list[str], int]] = []
        self.answers: asyncio.Queue[QuotedTexts | Exception] = asyncio.Queue()
        self.position = 7
        self.loaded: list[QuotedTexts] = []

    async def load(self, messages: Sequence[Quoted], position: int) -> QuotedTexts:
        self.requests.append(([quoted.message_id for quoted in messages], position))
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def asked(self, number: int) -> None:
        async with asyncio.timeout(LONG):
            while len(self.requests) < number:
                await asyncio.sleep(0)


@asynccontextmanager
async def quote_texts(messaging: Messaging, patience: float = LONG, pause: float = 0.0) -> AsyncIterator[QuoteTexts]:
    quotes = QuoteTexts(
        messaging.load,
        position=lambda: messaging.position,
        loaded=messaging.loaded.append,
        patience=patience,
        pause=pause,
    )
    running = asyncio.create_task(quotes.run())
    try:
        yield quotes
    finally:
        running.cancel()


def text(text: str) -> QuotedText:
    return QuotedText(text, False)


async def test_texts_that_several_clients_need_are_requested_once_and_the_rest_in_the_next_request() -> None:
    messaging = Messaging()
    async with quote_texts(messaging) as quotes:
        lookups = [asyncio.create_task(quotes.get([FIRST])) for _ in range(3)]
        await messaging.asked(1)
        messaging.position = 9
        lookups += [asyncio.create_task(quotes.get([FIRST, SECOND])) for _ in range(2)]
        await asyncio.sleep(0)
        messaging.answers.put_nowait({"first": text("a")})
        messaging.answers.put_nowait({"second": text("b")})
        answers = await asyncio.gather(*lookups)
    assert answers == [{"first": text("a")}] * 3 + [{"first": text("a"), "second": text("b")}] * 2
    assert messaging.requests == [(["first"], 7), (["second"], 9)]
    assert messaging.loaded == [{"first": text("a")}, {"second": text("b")}]


async def test_a_request_has_a_bounded_number_of_messages() -> None:
    messaging = Messaging()
    async with quote_texts(messaging) as quotes:
        lookup = asyncio.create_task(quotes.get(Quoted(str(n), "c", n) for n in range(MOST_QUOTES + 1)))
        messaging.answers.put_nowait({})
        messaging.answers.put_nowait({})
        assert await lookup == {}
    assert [len(ids) for ids, _ in messaging.requests] == [MOST_QUOTES, 1]


async def test_a_message_that_is_deleted_meanwhile_has_no_text_whatever_the_answer_says() -> None:
    messaging = Messaging()
    deleted = QuotedText("", True)
    async with quote_texts(messaging) as quotes:
        lookup = asyncio.create_task(quotes.get([FIRST, SECOND]))
        await messaging.asked(1)
        quotes.changed("first", deleted)
        # Another client comes after the deletion and before the answer to the first.
        later = asyncio.create_task(quotes.get([FIRST]))
        await asyncio.sleep(0)
        messaging.answers.put_nowait({"first": text("secret"), "second": text("b")})
        assert await lookup == {"first": deleted, "second": text("b")}
        assert messaging.loaded == [{"second": text("b")}]
        messaging.answers.put_nowait({"first": deleted})
        assert await later == {"first": deleted}


async def test_a_message_that_changes_before_its_request_is_not_requested() -> None:
    messaging = Messaging()
    async with quote_texts(messaging) as quotes:
        lookup = asyncio.create_task(quotes.get([FIRST]))
        await messaging.asked(1)
        waiting = asyncio.create_task(quotes.get([SECOND]))
        await asyncio.sleep(0)
        quotes.changed("second", text("new"))
        assert await waiting == {"second": text("new")}
        messaging.answers.put_nowait({})
        assert await lookup == {}
    assert [ids for ids, _ in messaging.requests] == [["first"]]


@pytest.mark.parametrize("answers", [[], [Unavailable()]])
async def test_without_an_answer_there_is_no_text_and_it_is_requested_again(answers: list[Exception]) -> None:
    messaging = Messaging()
    async with quote_texts(messaging, patience=LONG if answers else 0.01) as quotes:
        for answer in answers:
            messaging.answers.put_nowait(answer)
        assert await quotes.get([FIRST]) == {}
        # A request that messaging has not answered was abandoned.
        async with asyncio.timeout(LONG):
            while quotes._answers:
                await asyncio.sleep(0)
        quotes._patience = LONG
        messaging.answers.put_nowait({"first": text("a")})
        assert await quotes.get([FIRST]) == {"first": text("a")}


async def test_after_a_failed_request_no_client_waits_until_the_pause_is_over() -> None:
    messaging = Messaging()
    async with quote_texts(messaging, pause=2 * LONG) as quotes:
        lookups = [asyncio.create_task(quotes.get([FIRST]))]
        await messaging.asked(1)
        lookups.append(asyncio.create_task(quotes.get([SECOND])))
        await asyncio.sleep(0)
        messaging.answers.put_nowait(Unavailable())
        async with asyncio.timeout(LONG / 2):
            assert await asyncio.gather(*lookups) == [{}, {}]
            assert await quotes.get([FIRST, SECOND]) == {}
            assert [ids for ids, _ in messaging.requests] == [["first"]]
            quotes._resumes_at = 0.0
            messaging.answers.put_nowait({"first": text("a")})
            assert await quotes.get([FIRST]) == {"first": text("a")}
    assert not quotes._waiting
    assert not quotes._answers


async def test_texts_that_no_client_waits_for_any_longer_are_not_requested_and_the_newest_are_requested_first() -> None:
    messaging = Messaging()
    async with quote_texts(messaging) as quotes:
        lookup = asyncio.create_task(quotes.get([FIRST]))
        await messaging.asked(1)
        late = asyncio.create_task(quotes.get([SECOND]))
        await asyncio.sleep(0)
        waiting = quotes._waiting["second"]
        quotes._waiting["second"] = msgspec.structs.replace(waiting, since=waiting.since - LONG)
        many = [Quoted(str(n), "c", n) for n in range(MOST_QUOTES + 1)]
        lookups = asyncio.create_task(quotes.get(many))
        await asyncio.sleep(0)
        for _ in range(3):
            messaging.answers.put_nowait({})
        async with asyncio.timeout(LONG / 2):
            assert not any(await asyncio.gather(lookup, late, lookups))
    ids = [quoted.message_id for quoted in many]
    assert [message_ids for message_ids, _ in messaging.requests] == [["first"], ids[1:], ids[:1]]
