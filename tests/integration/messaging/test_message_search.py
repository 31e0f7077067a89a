"""A user finds their own messages by words, as they may read them at that moment."""

import random
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from contracts import subjects
from contracts.events.friendship import FriendshipAccepted, FriendshipRemoved
from contracts.events.message import MessageDeleted, MessageEdited, MessageSent
from contracts.messages import FoundMessage
from contracts.positions import Position
from contracts.subjects import CONTACT, MESSAGING
from contracts.values.ids import new_id, pair_id
from projections.conversations import Conversations
from projections.engine import ReadModel
from projections.engine.storage.builds import Connection
from projections.message_search import MessageSearch as MessageSearchModel
from services.messaging.search.queries import INDEXED, OF_ALL, OF_ONE, SearchCursor, SearchQueries
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

    async def edit(self, message: MessageSent, text: str) -> None:
        await self._change(MessageEdited(text=text, **_about(message)))

    async def delete(self, message: MessageSent) -> None:
        await self._change(MessageDeleted(**_about(message)))

    async def _change(self, event: MessageEdited | MessageDeleted) -> None:
        last = await self._writer.append(subjects.message(event.message_id), event)
        self.position = self.position.merge(Position.at(MESSAGING, last))

    async def page(
        self,
        user_id: str,
        query: str,
        *,
        peer_id: str | None = None,
        limit: int = 50,
        best: bool = False,
        after: SearchCursor | None = None,
    ) -> tuple[list[FoundMessage], SearchCursor | None]:
        items, more, reached = await self._search.search(
            user_id, peer_id, query, self.position, limit=limit, after=after, best=best
        )
        assert reached.covers(self.position)
        return msgspec.json.decode(items, type=list[FoundMessage]), more

    async def texts(self, user_id: str, query: str, *, peer_id: str | None = None) -> list[str]:
        """The texts found, with the highlights in brackets."""
        page, more = await self.page(user_id, query, peer_id=peer_id)
        assert more is None
        return [_marked(hit) for hit in page]

    async def _friendship(self, one: str, other: str, event: FriendshipAccepted | FriendshipRemoved) -> None:
        last = await self._writer.append(subjects.friendship(pair_id(one, other)), event)
        self.position = self.position.merge(Position.at(CONTACT, last))


def _about(message: MessageSent) -> dict[str, Any]:
    """The fields of a message that its later events repeat."""
    return {
        "message_id": message.message_id,
        "conversation_id": pair_id(message.sender_id, message.recipient_id),
        "sequence": message.sequence,
        "sender_id": message.sender_id,
        "sent_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "members": (message.sender_id, message.recipient_id),
    }


def _marked(hit: FoundMessage) -> str:
    text = hit.message.text
    for begin, end in reversed(hit.highlights):
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


async def test_an_edited_message_is_found_by_its_current_words_and_a_deleted_one_by_none(history: History) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, "old words", "old other")
    first, second = history.written
    await history.edit(first, "new text")
    for peer_id in (None, ANNA):
        assert await history.texts(BEN, "words", peer_id=peer_id) == []
        assert await history.texts(BEN, "text", peer_id=peer_id) == ["new [text]"]
        assert await history.texts(BEN, "old", peer_id=peer_id) == ["[old] other"]
    await history.delete(second)
    await history.edit(first, "old again")
    assert await history.texts(BEN, "old") == ["[old] again"]
    await history.delete(first)
    assert await history.texts(BEN, "old") == []


async def test_a_page_goes_on_after_a_message_that_was_deleted_since(history: History) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, *(f"word {number}" for number in range(5)))
    for number, (peer_id, best) in enumerate(((None, False), (BEN, False), (None, True), (BEN, True))):
        first, after = await history.page(ANNA, "word", peer_id=peer_id, best=best, limit=1)
        assert [hit.message.text for hit in first] == [f"word {4 - number}"]
        await history.delete(history.written[4 - number])
        rest, _ = await history.page(ANNA, "word", peer_id=peer_id, best=best, after=after)
        assert [hit.message.text for hit in rest] == [f"word {left}" for left in range(3 - number, -1, -1)]


async def test_what_a_read_model_does_not_have_yet_is_left_out(history: History, pool: Pool) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, "word 1", "word 2")
    assert await history.texts(ANNA, "word") == ["[word] 2", "[word] 1"]
    # Rows are never changed by hand; here as if only an edit of the message had been applied.
    async with pool.connection() as conn:
        await conn.execute(f"UPDATE {Conversations.view('messages')}_b1 SET message_id = NULL WHERE sequence = 1")
    assert await history.texts(ANNA, "word") == ["[word] 2"]


async def test_a_forged_cursor_shows_nothing_of_others(history: History) -> None:
    for one, other in ((ANNA, BEN), (BEN, CLEO)):
        await history.befriend(one, other)
        await history.say(one, other, "secret 1", "secret 2", "secret 3")
    for peer_id in (None, BEN, CLEO):
        for best in (False, True):
            for other in (ANNA, BEN, CLEO, new_id()):
                cursor = SearchCursor(other, 3, 5, newest_peer_id=other, newest_sequence=3)
                page, more = await history.page(ANNA, "secret", peer_id=peer_id, best=best, after=cursor)
                assert {hit.user_id for hit in page} <= {BEN}
                assert bool(page) == (other == BEN and peer_id != CLEO)
                assert more is None


async def test_a_found_message_is_the_one_that_lists_show(history: History) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(ANNA, BEN, 'say "hi"\n\\')
    ((hit,), _) = await history.page(BEN, "hi")
    (sent,) = history.written
    assert (hit.user_id, hit.highlights) == (ANNA, [(5, 7)])
    assert (hit.message.message_id, hit.message.sequence, hit.message.sender_id, hit.message.text) == (
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
        seen += [hit.message.text for hit in page]
        await history.say(BEN, ANNA, f"word later {number}")
    assert seen == [f"word {number}" for number in range(11, -1, -1)]
    assert after is None
    ((newest, *_), _) = await history.page(ANNA, "wor")
    assert newest.message.text == "word later 2"


async def test_a_page_of_long_texts_ends_early_and_the_next_one_goes_on(history: History) -> None:
    await history.befriend(ANNA, BEN)
    texts = [f"{number:02} " + "🦉" * 3_997 for number in range(12)]
    await history.say(ANNA, BEN, *texts)
    for best in (False, True):
        after = None
        for page_texts in (texts[11:6:-1], texts[6:1:-1], texts[1::-1]):
            page, after = await history.page(BEN, "🦉", best=best, after=after)
            assert [hit.message.text for hit in page] == page_texts
            assert page[0].highlights == [(3, 4_000)]
            assert (after is None) == (page_texts[-1] == texts[0])


async def test_the_best_are_those_with_whole_words_and_their_pages_stay_while_messages_arrive(
    history: History,
) -> None:
    await history.befriend(ANNA, BEN)
    await history.say(
        ANNA, BEN, "run far", "runner farther", "running far", "run farther", "runs farther", "running far away"
    )
    seen: dict[str | None, list[str]] = {None: [], BEN: []}
    after: dict[str | None, SearchCursor | None] = {None: None, BEN: None}
    for number in range(3):
        for peer_id, texts in seen.items():
            page, after[peer_id] = await history.page(
                ANNA, "far run", peer_id=peer_id, best=True, limit=2, after=after[peer_id]
            )
            texts += [hit.message.text for hit in page]
        await history.say(BEN, ANNA, f"run far {number}")
    best = ["running far away", "running far", "run far", "runs farther", "run farther", "runner farther"]
    assert seen == {None: best, BEN: best}
    assert after == {None: None, BEN: None}


async def test_common_and_rare_words_are_found_in_long_histories_like_in_short_ones(
    history: History, pool: Pool
) -> None:
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
            message_ids: list[str] = []
            after: SearchCursor | None = None
            while True:
                page, after = await history.page(ANNA, query, peer_id=peer_id, limit=50, after=after)
                message_ids += [hit.message.message_id for hit in page]
                if after is None or len(message_ids) >= 200:
                    break
            assert message_ids == expected[: len(message_ids)], query
            assert after is not None or len(message_ids) == len(expected)
    await _assert_plans_read_little(pool)


async def _assert_plans_read_little(pool: Pool) -> None:
    """The plans of prepared searches, which are those for any user and any word, are good ones for every user."""
    async with pool.connection() as conn:
        await conn.execute("ANALYZE")
        plans = [await _generic_plan(conn, query) for query in (OF_ALL, OF_ONE, INDEXED)]
    of_all, of_one, indexed = plans
    # The newest messages in the order of an index, twice: those that are compared, and the first of the others.
    assert of_all.count("Merge Append") == 2
    assert of_one.count("Index Scan Backward using message_search_v2_b1_pkey") == 2
    # The words and the conversation together, and no other index with all messages of a conversation.
    assert "array_words_idx" in indexed
    assert "message_search_v2_b1_pkey" not in indexed


async def _generic_plan(conn: Connection, query: str) -> str:
    statement = MessageSearchModel.with_tables(query, MessageSearchModel.reader_names())
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    for number, name in enumerate(names, start=1):
        statement = statement.replace(f"%({name})s", f"${number}")
    cursor = await conn.execute(f"EXPLAIN (GENERIC_PLAN) {statement}".encode())
    return "\n".join(str(line) for (line,) in await cursor.fetchall())
