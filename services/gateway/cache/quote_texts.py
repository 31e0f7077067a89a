"""Looks up the texts that live events of replies quote: the event of a reply only names the message that it answers.

Messages that clients need while a request is under way go together into the next one, without those that no client
waits for any longer. After a failed request no texts are looked up for some seconds: while messaging lags, a client's
events wait once, not for each reply. A message that is edited or deleted meanwhile has what its event says, whatever
the answer says.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec import UNSET

from contracts.errors import VestnikError
from contracts.messages import LiveMessage
from contracts.values.field_types import MOST_QUOTES

log = logging.getLogger(__name__)
# Seconds after which events are sent without the texts. A revoked session's streams end within a second, so that this
# is less.
_PATIENCE = 0.5
# Seconds without look-ups after one that failed.
_PAUSE = 3.0

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(LiveMessage).decode


class Quoted(msgspec.Struct, frozen=True):
    """A message that another one answers."""

    message_id: str
    conversation_id: str
    # In the conversation.
    sequence: int


class QuotedText(msgspec.Struct, frozen=True):
    """The text of a quoted message; empty if that was deleted."""

    text: str
    deleted: bool


# By the id of the quoted message.
QuotedTexts = Mapping[str, QuotedText]
# Loads the texts once messaging has read to a sequence of MESSAGING, without those of unknown messages.
Load = Callable[[Sequence[Quoted], int], Awaitable[QuotedTexts]]
_Answer = asyncio.Future[QuotedText | None]


class _Waiting(msgspec.Struct, frozen=True):
    quoted: Quoted
    # Of the event loop's clock.
    since: float


def with_quoted_text(data: bytes, quoted: QuotedText) -> bytes:
    """The JSON of a live event of a reply, whose quote shows this text."""
    message = _DECODE(data)
    if message.reply_to is UNSET:
        return data
    quote = msgspec.structs.replace(message.reply_to, text=quoted.text, deleted=quoted.deleted or UNSET)
    return _ENCODE(msgspec.structs.replace(message, reply_to=quote))


class QuoteTexts:
    def __init__(
        self,
        load: Load,
        *,
        position: Callable[[], int],
        loaded: Callable[[QuotedTexts], None],
        patience: float = _PATIENCE,
        pause: float = _PAUSE,
    ) -> None:
        """
        `position`: how far MESSAGING has been published here; later changes come to `changed`.
        `loaded`: called with the texts of each answer.
        """
        self._load = load
        self._position = position
        self._loaded = loaded
        self._patience = patience
        self._pause = pause
        # Of the event loop's clock; until then no text is looked up.
        self._resumes_at = 0.0
        # By message id: the messages whose texts are not known yet; None as a result: messaging does not know it.
        self._answers: dict[str, _Answer] = {}
        # Those of them that no request contains yet, oldest first.
        self._waiting: dict[str, _Waiting] = {}
        self._more = asyncio.Event()

    async def get(self, messages: Iterable[Quoted]) -> QuotedTexts:
        """The texts as they are now, without those that messaging does not know or does not say in time."""
        if asyncio.get_running_loop().time() < self._resumes_at:
            return {}
        answers = {quoted.message_id: self._answer(quoted) for quoted in messages}
        await asyncio.wait(answers.values(), timeout=self._patience)
        return {
            message_id: text
            for message_id, answer in answers.items()
            if answer.done() and (text := answer.result()) is not None
        }

    def changed(self, message_id: str, text: QuotedText) -> None:
        """The message has been edited or deleted."""
        self._waiting.pop(message_id, None)
        answer = self._answers.pop(message_id, None)
        if answer is not None:
            answer.set_result(text)

    async def run(self) -> None:
        """Loads texts until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                await self._load_some()

    def _answer(self, quoted: Quoted) -> _Answer:
        answer = self._answers.get(quoted.message_id)
        if answer is None:
            loop = asyncio.get_running_loop()
            answer = self._answers[quoted.message_id] = loop.create_future()
            self._waiting[quoted.message_id] = _Waiting(quoted, loop.time())
            self._more.set()
        return answer

    async def _load_some(self) -> None:
        loop = asyncio.get_running_loop()
        self._drop_waiting(before=loop.time() - self._patience)
        # The newest: their clients wait longest from now on.
        newest = [self._waiting.popitem()[1].quoted for _ in range(min(len(self._waiting), MOST_QUOTES))]
        if not newest:
            return
        messages = newest[::-1]
        answers = {quoted.message_id: self._answers[quoted.message_id] for quoted in messages}
        texts: QuotedTexts = {}
        try:
            async with asyncio.timeout(self._patience):
                texts = await self._load(messages, self._position())
        except (VestnikError, TimeoutError) as error:
            log.info(
                "live events of replies are sent without the text that they quote, for %.0f s: %r", self._pause, error
            )
            self._resumes_at = loop.time() + self._pause
            self._drop_waiting(before=self._resumes_at)
        # Without those that were changed meanwhile.
        pending = {message_id: answer for message_id, answer in answers.items() if not answer.done()}
        for message_id, answer in pending.items():
            del self._answers[message_id]
            answer.set_result(texts.get(message_id))
        self._loaded({message_id: text for message_id, text in texts.items() if message_id in pending})

    def _drop_waiting(self, *, before: float) -> None:
        """Answers without a text what waits since before then."""
        late = [message_id for message_id, waiting in self._waiting.items() if waiting.since < before]
        for message_id in late:
            del self._waiting[message_id]
            self._answers.pop(message_id).set_result(None)
