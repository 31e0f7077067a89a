"""Messages: what a text may be, sequences, repeats, paging, who may read."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from contracts.values.ids import is_id, new_id, pair_id
from tests.e2e.people import Api, Person, assert_problem, eventually, items
from tests.fix_system import one_replica

FIELDS = {"message_id", "conversation_id", "sequence", "sender_id", "text", "sent_at"}
TEXTS = {
    "one character": "x",
    "4,000 characters outside the BMP": "🦉" * 4000,
    "right to left": "שלום عليكم \u202eabc\u202c",
    "combining": "e\u0301 and \u00e9, Z̸̢̛a̷l̴g̵o̶",
    "zero width": "a\u200bb\u200dc\ufeff",
    "family": "👨‍👩‍👧‍👦🏳️‍🌈",
    "whitespace around": "  \t\r\n \u2028\u2029\u0085x  \n",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "markup": "<script>alert('1')</script> & \"quotes\" \\ %s {} '; DROP TABLE users; --",
    "noncharacters": "\ufffe\uffff\U0010ffff",
}


async def test_a_message_answers_what_was_stored(api: Api) -> None:
    anna, boris = await api.friends()
    response = await anna.write(boris, "Hello")
    assert response.status_code == 201
    message = response.json()
    assert set(message) == FIELDS
    assert is_id(message["message_id"])
    assert message["conversation_id"] == pair_id(anna.user_id, boris.user_id)
    assert (message["sequence"], message["sender_id"], message["text"]) == (1, anna.user_id, "Hello")
    assert message["sent_at"].endswith("Z")
    assert len(message["sent_at"]) == len("2026-01-01T00:00:00.000Z")
    assert response.headers["Vestnik-Position"]


@one_replica
async def test_a_text_is_kept_byte_for_byte(api: Api) -> None:
    anna, boris = await api.friends()
    for kind, text in TEXTS.items():
        assert (await anna.sends(boris, text))[0]["text"] == text, kind
        read = (await anna.messages(boris))[0]["text"]
        assert read.encode() == text.encode(), kind


@one_replica
async def test_what_is_no_text_is_refused(api: Api) -> None:
    anna, boris = await api.friends()
    for text in ("", "x" * 4001, "nul\x00inside", " ", "\t\r\n \u2028\u2029\u0085\u3000", None, 5):
        body = {"text": text, "client_message_id": "c"}
        response = await anna.ask("POST", f"/v1/conversations/{boris.user_id}/messages", json=body)
        problem = assert_problem(response, 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/text"], text


@one_replica
async def test_a_lone_surrogate_is_no_text(api: Api) -> None:
    anna, boris = await api.friends()
    response = await anna.ask(
        "POST",
        f"/v1/conversations/{boris.user_id}/messages",
        content=b'{"text": "\\ud800", "client_message_id": "c"}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code in {400, 422}
    assert response.json()["code"] in {"malformed_json", "invalid"}


@one_replica
async def test_what_is_no_client_message_id_is_refused(api: Api) -> None:
    anna, boris = await api.friends()
    for client_message_id in ("", "x" * 65, "with space", "ü", "a/b", 5):
        body = {"text": "x", "client_message_id": client_message_id}
        response = await anna.ask("POST", f"/v1/conversations/{boris.user_id}/messages", json=body)
        problem = assert_problem(response, 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/client_message_id"], client_message_id


async def test_a_message_is_edited_and_deleted_for_both(api: Api) -> None:
    anna, boris = await api.friends()
    sent, last = await anna.sends(boris, "tpyo", "last")
    assert (await boris.messages(anna))[1]["text"] == "tpyo"
    response = await anna.edit(boris, sent["message_id"], "typo")
    assert response.status_code == 200
    edited = response.json()
    assert set(edited) == FIELDS | {"edited_at"}
    assert edited == sent | {"text": "typo", "edited_at": edited["edited_at"]}
    shown = {name: value for name, value in edited.items() if name != "conversation_id"}
    for reader, other in ((anna, boris), (boris, anna)):
        assert (await reader.messages(other))[1] == shown
    again = await anna.edit(boris, sent["message_id"], "typo")
    assert (again.status_code, again.json()) == (200, edited)
    for message in (sent, last):
        for _ in range(2):
            response = await anna.delete(boris, message["message_id"])
            assert (response.status_code, response.content) == (204, b"")
    for reader, other in ((anna, boris), (boris, anna)):
        page = await reader.messages(other)
        assert [(item["sequence"], item["text"], item["deleted"]) for item in page] == [(2, "", True), (1, "", True)]
        row = await reader.conversation(other)
        assert row is not None
        assert (row["last_message"]["text"], row["last_message"]["deleted"]) == ("", True)
        # Deleting changes nothing of what is unread.
        assert row["unread_count"] == (2 if reader is boris else 0)
    assert_problem(await anna.edit(boris, sent["message_id"], "typo"), 409, "message_deleted")


async def found(user: Person, query: str, **params: object) -> list[str]:
    """The texts that a search finds, with the highlights in brackets."""
    texts = []
    for item in items(await user.get("/v1/messages", params={"query": query, **params})):
        text = item["message"]["text"]
        for begin, end in reversed(item["highlights"]):
            text = f"{text[:begin]}[{text[begin:end]}]{text[end:]}"
        texts.append(text)
    return texts


async def test_messages_are_found_by_what_they_say_now_and_only_by_friends(api: Api) -> None:
    anna, boris = await api.friends()
    hello, other = await anna.sends(boris, "Привет, Борис! \U0001f600 \u202eabc\u202c", "приветствую")
    assert await found(anna, "приве") == ["[приве]тствую", "[Приве]т, Борис! \U0001f600 \u202eabc\u202c"]
    assert await found(anna, "борис 😀", order="best", user_id=boris.user_id) == [
        "Привет, [Борис]! [\U0001f600] \u202eabc\u202c"
    ]
    assert (await anna.edit(boris, hello["message_id"], "До свидания")).status_code == 200
    assert (await anna.delete(boris, other["message_id"])).status_code == 204
    assert await found(anna, "приве") == []
    assert await found(anna, "свидание") == ["До [свидания]"]
    assert (await anna.remove(boris)).status_code == 204
    assert await found(anna, "свидание") == await found(anna, "свидание", user_id=boris.user_id) == []
    for query in ("':*", "a' | 'b", "\\", "%", "(((", "<->", "!a & !b", "\u202e", "a " * 100):
        assert await found(anna, query) == [], query


async def test_a_search_among_changes_shows_only_what_it_marks(api: Api) -> None:
    anna, boris = await api.friends()
    sent = await anna.sends(boris, *(f"word {number}" for number in range(10)))
    done = asyncio.Event()

    async def change() -> None:
        for message in sent:
            assert (await anna.edit(boris, message["message_id"], "another text")).status_code == 200
            assert f"[word] {message['text'].split()[1]}" not in await found(anna, "word")
            assert (await anna.delete(boris, message["message_id"])).status_code == 204
            assert (await anna.sends(boris, "word again"))[0]["sequence"] > message["sequence"]
        done.set()

    async def search() -> None:
        while not done.is_set():
            for text in await found(boris, "word"):
                assert text.startswith("[word] ")
            for text in await found(boris, "texts"):
                assert text == "another [text]"

    await asyncio.gather(change(), search(), search())
    assert await found(anna, "word") == ["[word] again"] * 10
    assert await found(anna, "text") == []


async def test_only_the_sender_edits_and_deletes_a_message_of_the_conversation(api: Api) -> None:
    anna, boris = await api.friends()
    carl = await api.person()
    await api.befriend(anna, carl)
    [sent] = await anna.sends(boris, "mine")
    for person, other, message_id, status, code in (
        (boris, anna, sent["message_id"], 403, "not_sender"),
        (carl, anna, sent["message_id"], 404, "message_not_found"),
        (anna, carl, sent["message_id"], 404, "message_not_found"),
        (carl, boris, sent["message_id"], 403, "not_friends"),
        (anna, boris, new_id(), 404, "message_not_found"),
        (anna, boris, "x", 404, "message_not_found"),
        (anna, boris, "%2e%2e", 404, "message_not_found"),
    ):
        assert_problem(await person.edit(other, message_id, "x"), status, code)
        assert_problem(await person.delete(other, message_id), status, code)
    path = f"/v1/conversations/{boris.user_id}/messages/{sent['message_id']}"
    for text in ("", "x" * 4001, "nul\x00inside", " \t\u3000", None, 5):
        problem = assert_problem(await anna.ask("PATCH", path, json={"text": text}), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/text"], text
    assert_problem(await anna.ask("PATCH", path, json={"text": "x", "sent_at": "now"}), 422, "invalid")
    assert_problem(await anna.ask("PATCH", path, json={}), 422, "invalid")
    assert_problem(await anna.ask("PATCH", path, content=b"x"), 415, "unsupported_media_type")
    await anna.remove(boris)
    assert_problem(await anna.edit(boris, sent["message_id"], "x"), 403, "not_friends")
    assert_problem(await anna.delete(boris, sent["message_id"]), 403, "not_friends")
    await api.befriend(anna, boris)
    assert (await boris.messages(anna))[0]["text"] == "mine"


async def test_a_repeated_message_is_answered_as_it_is_now(api: Api) -> None:
    anna, boris = await api.friends()
    message_id = (await anna.write(boris, "one", "same-id")).json()["message_id"]
    edited = (await anna.edit(boris, message_id, "two")).json()
    repeated = await anna.write(boris, "one", "same-id")
    assert (repeated.status_code, repeated.json()) == (200, edited)
    assert_problem(await anna.write(boris, "two", "same-id"), 409, "client_message_id_reused")
    await anna.delete(boris, message_id)
    for text in ("one", "two", "three"):
        repeated = await anna.write(boris, text, "same-id")
        assert repeated.status_code == 200
        assert (repeated.json()["text"], repeated.json()["deleted"]) == ("", True)
    assert len(await anna.messages(boris)) == 1


async def test_only_friends_can_write_to_each_other(api: Api) -> None:
    anna, boris = await api.people(2)
    assert (await anna.add(boris)).status_code in {201, 404}
    assert_problem(await anna.write(boris, "hello?"), 403, "not_friends")
    assert_problem(await anna.write(anna, "dear diary"), 403, "not_friends")
    unknown = f"/v1/conversations/{new_id()}/messages"
    body = {"text": "x", "client_message_id": "c"}
    assert_problem(await anna.ask("POST", unknown, json=body), 404, "user_not_found")
    assert_problem(await anna.get(unknown), 403, "not_friends")


async def test_a_repeated_message_is_the_same_message(api: Api) -> None:
    anna, boris = await api.friends()
    first = await anna.write(boris, "once", "same-id")
    second = await anna.write(boris, "once", "same-id")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert len(await anna.messages(boris)) == 1


async def test_a_client_message_id_with_another_text_is_refused(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.write(boris, "one", "same-id")
    assert_problem(await anna.write(boris, "two", "same-id"), 409, "client_message_id_reused")
    assert [message["text"] for message in await anna.messages(boris)] == ["one"]


async def test_a_reply_quotes_a_message_of_the_same_conversation(api: Api) -> None:
    anna, boris = await api.friends()
    carl = await api.person()
    await api.befriend(anna, carl)
    [elsewhere] = await anna.sends(carl, "elsewhere")
    [question] = await anna.sends(boris, "Where?")

    async def reply(reply_to: object) -> httpx.Response:
        body = {"text": "There", "client_message_id": "c", "reply_to": reply_to}
        return await boris.ask("POST", f"/v1/conversations/{anna.user_id}/messages", json=body)

    for absent in (elsewhere["message_id"], new_id(), question["conversation_id"], boris.user_id):
        assert_problem(await reply(absent), 404, "message_not_found")
    malformed: tuple[object, ...] = ("", "x", question["message_id"].upper(), "\x00", 1, [question["message_id"]], {})
    for garbage in malformed:
        problem = assert_problem(await reply(garbage), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/reply_to"], garbage
    answer = await reply(question["message_id"])
    assert answer.status_code == 201, answer.text
    quote = {"message_id": question["message_id"], "sequence": 1, "sender_id": anna.user_id, "text": "Where?"}
    assert answer.json()["reply_to"] == quote
    assert [message.get("reply_to") for message in await boris.messages(anna)] == [quote, None]
    repeated = await reply(question["message_id"])
    assert (repeated.status_code, repeated.json()) == (200, answer.json())
    assert_problem(await reply(None), 409, "client_message_id_reused")
    assert_problem(await reply(answer.json()["message_id"]), 409, "client_message_id_reused")


async def test_a_reaction_is_a_single_emoji(api: Api) -> None:
    anna, boris = await api.friends()
    carl = await api.person()
    await api.befriend(anna, carl)
    [message] = await anna.sends(boris, "Dinner?")

    def path(message_id: str, other: Person = anna) -> str:
        return f"/v1/conversations/{other.user_id}/messages/{message_id}/reaction"

    ours = path(message["message_id"])
    texts = ("", "1", "a", "👍👍", "\ufe0f", "❤\ufe0e", "🏽", "👩" + "\u200d👩" * 100, "\x00")
    for emoji in (*texts, None, 1):
        problem = assert_problem(await boris.ask("PUT", ours, json={"emoji": emoji}), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] == ["/emoji"], emoji
    bodies: tuple[object, ...] = ({}, {"emoji": "👍", "more": 1}, [])
    for body in bodies:
        assert_problem(await boris.ask("PUT", ours, json=body), 422, "invalid")
    surrogate = {"content": b'{"emoji": "\\ud83d"}', "headers": {"Content-Type": "application/json"}}
    assert (await boris.ask("PUT", ours, **surrogate)).json()["code"] in {"malformed_json", "invalid"}
    for absent in (new_id(), "x", "%00", message["conversation_id"]):
        for method in ("PUT", "DELETE"):
            assert_problem(await boris.ask(method, path(absent), json={"emoji": "👍"}), 404, "message_not_found")
    assert_problem(await carl.ask("PUT", path(message["message_id"]), json={"emoji": "👍"}), 404, "message_not_found")
    assert_problem(await carl.ask("PUT", path(message["message_id"], boris), json={"emoji": "👍"}), 403, "not_friends")

    assert "reactions" not in (await boris.messages(anna))[0]
    for person, other, emoji in ((boris, anna, "👍"), (anna, boris, "1\ufe0f\u20e3"), (boris, anna, "🇷🇺")):
        for _ in range(2):
            response = await person.ask("PUT", path(message["message_id"], other), json={"emoji": emoji})
            assert (response.status_code, response.content) == (204, b"")
    [shown] = await boris.messages(anna)
    assert shown["reactions"] == [
        {"emoji": "1\ufe0f\u20e3", "user_ids": [anna.user_id]},
        {"emoji": "🇷🇺", "user_ids": [boris.user_id]},
    ]
    message_path = f"/v1/conversations/{boris.user_id}/messages/{message['message_id']}"
    edited = await anna.ask("PATCH", message_path, json={"text": "Lunch?"})
    assert edited.json()["reactions"] == shown["reactions"]
    for _ in range(2):
        assert (await boris.ask("DELETE", ours)).status_code == 204
    assert (await boris.messages(anna))[0]["reactions"] == [{"emoji": "1\ufe0f\u20e3", "user_ids": [anna.user_id]}]


async def test_a_client_message_id_is_its_senders_towards_one_person(api: Api) -> None:
    anna, boris = await api.friends()
    vera = await api.person()
    await api.befriend(anna, vera)
    answers = [
        await anna.write(boris, "one", "same-id"),
        await boris.write(anna, "two", "same-id"),
        await anna.write(vera, "three", "same-id"),
    ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert [answer.json()["sequence"] for answer in answers] == [1, 2, 1]


async def test_a_repeat_long_after_is_still_the_same_message(api: Api) -> None:
    anna, boris = await api.friends()
    first = await anna.write(boris, "first", "first-id")
    await anna.sends(boris, *(f"number {number}" for number in range(30)))
    again = await anna.write(boris, "first", "first-id")
    assert (again.status_code, again.json()) == (200, first.json())


async def test_a_repeat_is_the_same_message_even_after_the_friendship_has_ended(api: Api) -> None:
    anna, boris = await api.friends()
    first = await anna.write(boris, "Hello", "once")
    await boris.remove(anna)
    anna.written = anna.written.merge(boris.written)
    repeated = await anna.write(boris, "Hello", "once")
    assert (first.status_code, repeated.status_code) == (201, 200)
    assert repeated.json() == first.json()
    assert_problem(await anna.write(boris, "Another text", "once"), 403, "not_friends")
    assert_problem(await anna.write(boris, "Hello", "twice"), 403, "not_friends")


async def test_the_newest_messages_come_first(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "one", "two", "three")
    assert [message["text"] for message in await anna.messages(boris)] == ["three", "two", "one"]


async def test_messages_go_on_page_by_page_both_ways(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, *map(str, range(1, 12)))
    back = [[m["sequence"] for m in await anna.messages(boris, limit=4)]]
    while back[-1] and back[-1][-1] > 1:
        back.append([m["sequence"] for m in await anna.messages(boris, limit=4, before=back[-1][-1])])
    assert back == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2, 1]]
    forth = [[m["sequence"] for m in await anna.messages(boris, limit=4, after=0)]]
    while forth[-1][-1] < 11:
        forth.append([m["sequence"] for m in await anna.messages(boris, limit=4, after=forth[-1][-1])])
    assert forth == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]
    assert await anna.messages(boris, before=1) == []
    assert await anna.messages(boris, after=11) == []


@pytest.mark.parametrize("direction", ["before", "after"])
async def test_the_next_page_is_where_the_cursor_says(api: Api, direction: str) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, *map(str, range(1, 8)))
    path = f"/v1/conversations/{boris.user_id}/messages"
    query: dict[str, str | int] = {"limit": 3, direction: 0 if direction == "after" else 100}
    sequences: list[int] = []
    for _ in range(3):
        response = await anna.get(path, params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        sequences += [message["sequence"] for message in page["items"]]
        query = {"limit": 3, "cursor": page["next"]}
    assert page["next"] is None
    assert sequences == (list(range(1, 8)) if direction == "after" else list(range(7, 0, -1)))


@one_replica
async def test_a_page_that_cannot_be_is_refused(api: Api) -> None:
    anna, boris = await api.friends()
    for query in ("limit=0", "limit=201", "limit=x", "before=-1", "after=x", "before=1&after=1"):
        response = await anna.get(f"/v1/conversations/{boris.user_id}/messages?{query}")
        assert_problem(response, 422, "invalid")


async def test_the_other_reads_the_message_in_a_moment(api: Api) -> None:
    anna, boris = await api.friends()
    sent = (await anna.sends(boris, "for you"))[0]

    async def arrived() -> bool:
        return any(message["message_id"] == sent["message_id"] for message in await boris.messages(anna))

    await eventually(arrived, "the message")
    assert set((await boris.messages(anna))[0]) - {"seen_at"} == FIELDS - {"conversation_id"}


async def test_access_ends_with_the_friendship_and_comes_back_with_the_history(api: Api) -> None:
    anna, boris = await api.friends()
    await anna.sends(boris, "before")
    assert (await anna.remove(boris)).status_code == 204

    async def closed() -> bool:
        return (await boris.get(f"/v1/conversations/{anna.user_id}/messages")).status_code == 403

    await eventually(closed, "the conversation closed")
    # At this replica; at the others for who has seen the removal.
    boris.written = boris.written.merge(anna.written)
    for one, other in ((anna, boris), (boris, anna)):
        assert_problem(await one.get(f"/v1/conversations/{other.user_id}/messages"), 403, "not_friends")
        assert_problem(await one.write(other, "after"), 403, "not_friends")
        assert_problem(await one.sees(other, 1), 403, "not_friends")
        assert await one.conversation(other) is None

    assert (await boris.add(anna)).status_code == 201
    assert_problem(await boris.get(f"/v1/conversations/{anna.user_id}/messages"), 403, "not_friends")
    assert (await anna.add(boris)).status_code == 200
    assert [message["text"] for message in await anna.messages(boris)] == ["before"]
    assert (await anna.sends(boris, "again"))[0]["sequence"] == 2


async def test_sequences_are_dense_while_both_write(api: Api) -> None:
    anna, boris = await api.friends()
    writes = [(one, other, n) for n in range(40) for one, other in ((anna, boris), (boris, anna))]
    answers = await asyncio.gather(*(one.write(other, f"{one.username} {n}") for one, other, n in writes))
    assert {answer.status_code for answer in answers} == {201}
    sequences = sorted(answer.json()["sequence"] for answer in answers)
    assert sequences == list(range(1, 81))

    async def all_there() -> bool:
        return len(await anna.messages(boris, after=0, limit=200)) == 80

    await eventually(all_there, "all messages")
    read = {message["message_id"]: message for message in await anna.messages(boris, after=0, limit=200)}
    for answer in answers:
        message = answer.json()
        del message["conversation_id"]
        # Who writes has seen what came before: some have been seen by now.
        read[message["message_id"]].pop("seen_at", None)
        assert read[message["message_id"]] == message


async def test_twenty_times_at_once_is_one_message(api: Api) -> None:
    anna, boris = await api.friends()
    tag = uuid4().hex
    answers = await asyncio.gather(*(anna.write(boris, "only once", tag) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert [message["text"] for message in await anna.messages(boris)] == ["only once"]
