"""Dead letters: the list, one with its event (a look), and the acts on them."""

from collections.abc import Awaitable
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import Invalid, NotFound, Unavailable, Violation
from contracts.rpc.vestnik.operator.v1 import (
    DiscardDeadLetterRequest,
    Document,
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    RetryDeadLetterRequest,
)
from contracts.values.validation import validated
from infra.operator_errors import OperatorError
from infra.security.operator_accounts import Operators
from projections.engine.dead_letters.outcomes import Retried
from projections.engine.dead_letters.queries import NoSuchLetter
from projections.engine.storage.dead_letters import LetterId
from projections.registry import UnknownProjection
from services.operator.actions.domain import Actor
from services.operator.actions.recorder import Recorder
from services.operator.dead_letters.actions import DeadLetters
from services.operator.dead_letters.parked_events import NoSuchParkedEvent
from services.operator.dead_letters.views import with_operator
from services.operator.handlers.documents import PageRequest, document
from streams.reactions.parked import ParkedId


class _Discard(msgspec.Struct, frozen=True):
    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*\Z")]


class DeadLetterHandlers:
    def __init__(self, letters: DeadLetters, recorder: Recorder, operators: Operators) -> None:
        self._letters = letters
        self._recorder = recorder
        self._operators = operators

    async def list(self, message: ListDeadLettersRequest) -> Document:
        limit = validated(PageRequest, {"limit": message.limit}).limit
        try:
            page = await self._letters.list(discarded=message.discarded, limit=limit)
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure
        items = [with_operator(letter, self._operators.name_of) for letter in page.items]
        return document(msgspec.structs.replace(page, items=items))

    async def get(self, message: GetDeadLetterRequest, actor: Actor) -> Document:
        letter_id = _letter_id(message.id)
        await self._recorder.look(actor, "dead_letter", target=str(letter_id))
        try:
            return document(with_operator(await self._letters.get(letter_id), self._operators.name_of))
        except (NoSuchLetter, NoSuchParkedEvent, UnknownProjection) as error:
            raise NotFound(str(error)) from error
        except OperatorError as failure:
            raise Unavailable(str(failure)) from failure

    async def retry(self, message: RetryDeadLetterRequest, actor: Actor) -> Document:
        letter_id = _letter_id(message.id)
        async with self._recorder.acting(actor, "dead_letter.retry", target=str(letter_id)) as act:
            retried = await _settled(self._letters.retry(letter_id))
            if retried.outcome != "applied":
                act.ends("failed", retried.reason or "")
            return document(retried)

    async def discard(self, message: DiscardDeadLetterRequest, actor: Actor) -> Document:
        letter_id = _letter_id(message.id)
        reason = validated(_Discard, {"reason": " ".join(message.reason.split())}).reason
        async with self._recorder.acting(actor, "dead_letter.discard", target=str(letter_id), reason=reason) as act:
            return document(await _settled(self._letters.discard(letter_id, reason, act)))


async def _settled(settling: Awaitable[Retried]) -> Retried:
    try:
        return await settling
    except (NoSuchLetter, NoSuchParkedEvent, UnknownProjection) as error:
        raise NotFound(str(error)) from error
    except OperatorError as failure:
        raise Invalid(str(failure)) from failure


def _letter_id(text: str) -> LetterId | ParkedId:
    try:
        return ParkedId.parse(text) if text.count(".") == 2 else LetterId.parse(text)
    except ValueError as error:
        raise Invalid(violations=(Violation("/id", "Not the id of a dead letter"),)) from error
