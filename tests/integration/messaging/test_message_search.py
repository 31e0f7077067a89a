"""A user finds their own messages by words, as they may read them at that moment."""

import random

import msgspec
import pytest
import pytest_asyncio

from contracts import subjects
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageSent
from contracts.messages import FoundMessage
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from projections.conversations import Conversations
from projections.engine import ReadModel
from projections.message_search import MessageSearch as MessageSearchModel
from services.messaging.search.queries import SearchCursor, SearchQueries
from services.messaging.search.search import MessageSearch
from tests.fix_postgres import Pool
from tests.integration.projections.conftest import run, writer
from tests.integration.projections.event_writer import Opened, Writer

__all__ = ["run", "writer"]

ANNA, BEN, CLEO = new_id(), new_id(), new_id()


class History:
    """Conversations in the streams, and the search through them."""

    def __init__(self, writer: Writer, search: MessageSearch) -> None:
        self._writer, self._search = writer, search
        self.position = Position()
        self.written: list[MessageSent] = []

    async def befriend(self, one: str, other: str) -> None:
        await self._friendship(one, other, FriendshipAccepted(requester_id=one, addressee_id=other))

    async def unfriend(self, one: str, other: str) -> None:
        await self._friendship(one, other, FriendshipRemoved(remover_id=one, other_id=other))

    async def say(self, sender: str, recipient: str, *texts: str) -> None:
        pair = {sender, recipient}
        said = sum({message.sender_id, message.recipient_id} == pair for message in self.written)
        messages = [
            MessageSent(
                message_id=new_id(),
                sender_id=sender,
                recipient_id=recipient,
                sequence=sequence,
                text=text,
                client_message_id=str(sequence),
            )
            for sequence, text in enumerate(texts, start=said + 1)
        ]
        self.written += messages
        last = await self._writer.append(subjects.conversation(pair_id(sender, recipient)), *messages)
        self.position = self.position.merge(Position.at(MESSAGING, last))

    async def page(
        self,
        user_id: str,
        query: str,
        *,
        peer_id: str | None = None,
        limit: int = 50,
        after: SearchCursor | None = None,
    ) -> tuple[list[FoundMessage], SearchCursor | None]:
        items, more, reached = await self._search.search(
            user_id, peer_id, query, self.position, limit=limit, after=after
        )
        assert reached.covers(self.position)
        return msgspec.json.decode(items, type=list[FoundMessage]), more

    async def texts(self, user_id: str, query: str, *, peer_id: str | None = None) -> list[str]:
        """The texts found, with the highlights in brackets."""
        page, more = await self.page(user_id, query, peer_id=peer_id)
        assert more is None
        return [_marked(found) for found in page]

    async def _friendship(self, one: str, other: str, event: FriendshipAccepted | FriendshipRemoved) -> None:
        last = await self._writer.append(subjects.friendship(pair_id(one, other)), event)
        self.position = self.position.merge(Position.at(CONTACT, last))


def _marked(found: FoundMessage) -> str:
    text = found.message.text
    for begin, end in reversed(found.highlights):
        text = f"{text[:begin]}[{text[begin:end]}]{text[end:]}"
    return text


@pytest_asyncio.fixture
async def history(writer: Writer, run: Opened, pool: Pool) -> History:
    runners = await run(Conversations, MessageSearchModel)
    models = [ReadModel(model, pool, runners.waiting) for model in (MessageSearchModel, Conversations)]
    return History(writer, MessageSearch(SearchQueries(*models)))


TEXTS = (
    "Привет, Бен",
    "привет",
    "У нового стола",
    "Ещё раз",
    "They were running",
    "naïve cafe\u0301",
    "Straße",
    "我们去北京了",
    "สวัสดีครับ",
    "done 🎉!",
    "\u202bשלום עולם",
    "it's 100% :* & | !(<->)",
)
QUERIES = {
    "приве": ["[приве]т", "[Приве]т, Бен"],
    "бен ПРИВЕТ": ["[Привет], [Бен]"],
    "столами": ["У нового [стола]"],
    "новые": ["У [нового] стола"],
    "еще": ["[Ещё] раз"],
    "RUN": ["They were [run]ning"],
    "runs": ["They were [running]"],
    "naive cafe": ["[naïve] [cafe\u0301]"],
    "strass": ["[Straß]e"],
    "北京": ["我们去[北京]了"],
    "京": ["我们去北[京]了"],
    "们去北京": ["我[们去北京]了"],
    "去京": [],
    "北京们去": [],
    "ครับ": ["สวัสดี[ครับ]"],
    "🎉": ["done [🎉]!"],
    "שלו": ["\u202b[שלו]ם עולם"],
    "100%": ["it's [100]% :* & | !(<->)"],
    "it's": ["[it]'[s] 100% :* & | !(<->)"],
    "стол приве": [],
    # Nothing to look for.
    ":* & ' | \\ !(<->)": [],
    "\u202e\u200b": [],
    # The syntax of tsquery, of LIKE, of SQL and of regular expressions is punctuation.
    "при:*A | были": [],
    "'приве' & !nothing": [],
    "прив%": ["[прив]ет", "[Прив]ет, Бен"],
    "приве'; DROP TABLE messages; --": [],
    "п{3}ривет(.*)": [],
    # As long and as many as a query may have.
    "ы" * 200: [],
    "a б " * 50: [],
    "京都" * 100: [],
    " ".join(f"{number}x" for number in range(50)): [],
    "привет " * 28: ["[привет]", "[Привет], Бен"],
}


async def test_words_find_messages_in_any_script_newest_first_and_are_marked(
    history: History, subtests: pytest.Subtests
) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, *TEXTS)
    for query, texts in QUERIES.items():
        with subtests.test(query):
            assert await history.texts(BEN, query) == texts


async def test_only_what_the_user_may_read_now_is_found(history: History) -> None:
    for other in (BEN, CLEO):
        await history.befriend(ANNA, other)
        await history.say(ANNA, other, f"secret of {'Ben' if other == BEN else 'Cleo'}")
    assert await history.texts(ANNA, "secret") == ["[secret] of Cleo", "[secret] of Ben"]
    assert await history.texts(BEN, "secret") == ["[secret] of Ben"]
    assert await history.texts(new_id(), "secret") == []
    for peer_id, texts in ((BEN, ["[secret] of Ben"]), (CLEO, ["[secret] of Cleo"]), (ANNA, []), (new_id(), [])):
        assert await history.texts(ANNA, "secret", peer_id=peer_id) == texts
    # Two people, neither of whom is the asker.
    assert await history.texts(BEN, "secret", peer_id=CLEO) == []
    await history.unfriend(BEN, ANNA)
    assert await history.texts(BEN, "secret") == []
    for user_id, peer_id in ((ANNA, BEN), (BEN, ANNA)):
        assert await history.texts(user_id, "secret", peer_id=peer_id) == []
    assert await history.texts(ANNA, "secret") == ["[secret] of Cleo"]
    await history.befriend(BEN, ANNA)
    assert await history.texts(BEN, "secret") == ["[secret] of Ben"]


async def test_a_found_message_is_the_one_that_lists_show(history: History) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, 'say "hi"\n\\')
    ((found,), _) = await history.page(BEN, "hi")
    (sent,) = history.written
    assert (found.user_id, found.highlights) == (ANNA, [(5, 7)])
    assert (found.message.message_id, found.message.sequence, found.message.sender_id, found.message.text) == (
        sent.message_id,
        1,
        ANNA,
        sent.text,
    )


async def test_pages_are_complete_and_without_repeats_while_messages_arrive(history: History) -> None:
    for other in (BEN, CLEO):
        await history.befriend(ANNA, other)
    for number in range(12):
        await history.say(ANNA, (BEN, CLEO)[number % 2], f"word {number}")
    seen: list[str] = []
    after: SearchCursor | None = None
    for number in range(3):
        page, after = await history.page(ANNA, "wor", limit=5, after=after)
        seen += [found.message.text for found in page]
        await history.say(BEN, ANNA, f"word later {number}")
    assert seen == [f"word {number}" for number in range(11, -1, -1)]
    assert after is None
    ((newest, *_), _) = await history.page(ANNA, "wor")
    assert newest.message.text == "word later 2"


async def test_common_and_rare_words_are_found_in_long_histories_like_in_short_ones(history: History) -> None:
    chance = random.Random(5)
    vocabulary = ["а", "ан", "анна", "бо", "борис", "столы", "стола", "rare", "running"]
    weights = [300, 100, 50, 200, 40, 10, 10, 1, 5]
    await history.befriend(ANNA, BEN)
    await history.befriend(ANNA, CLEO)
    for _ in range(6):
        for other in (BEN, CLEO):
            texts = [" ".join(chance.choices(vocabulary, weights, k=chance.randint(1, 4))) for _ in range(400)]
            await history.say(*chance.sample((ANNA, other), 2), *texts)
    forms = {"стол": ("стол",), "столами": ("столы", "стола"), "runs": ("running",)}
    for query in ("а", "анн", "rare", "rare анна", "столами", "runs бо", "ан бор rare", "missing"):
        for peer_id in (None, BEN):
            expected = [
                message.message_id
                for message in reversed(history.written)
                if peer_id in (None, message.sender_id, message.recipient_id)
                and all(
                    any(word.startswith(forms.get(term, (term,))) for word in str(message.text).split())
                    for term in query.split()
                )
            ]
            found: list[str] = []
            after: SearchCursor | None = None
            while True:
                page, after = await history.page(ANNA, query, peer_id=peer_id, limit=50, after=after)
                found += [hit.message.message_id for hit in page]
                if after is None or len(found) >= 200:
                    break
            assert found == expected[: len(found)], query
            assert after is not None or len(found) == len(expected)
