"""Invented users and their messages, for screenshots of the messenger."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec

from tests.e2e.people import Api, Json, Person


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation with the viewing user; the newest message last."""

    username: str
    name: str
    bio: str
    # Who writes (`<` the other, `>` oneself), how many minutes ago, and what.
    lines: tuple[tuple[str, int, str], ...]
    # Of the other's last messages, how many are unread.
    unread: int = 0
    # Texts of replies, by the text that each answers.
    answers: Mapping[str, str] = msgspec.field(default_factory=dict)
    # Emoji by the text of the message; the one who has not written it reacts.
    reactions: Mapping[str, str] = msgspec.field(default_factory=dict)
    # Texts before they were edited, by those after.
    edits: Mapping[str, str] = msgspec.field(default_factory=dict)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One person's messenger."""

    username: str
    name: str
    bio: str
    talks: tuple[Talk, ...]
    # People who have asked to be friends: username, name, bio.
    asking: tuple[tuple[str, str, str], ...]


_SHALL_I_BRING = "I would not miss it. Shall I bring the big thermos and the chart of the inner bay?"
_TAKE_BOTH = "Ещё бы! Взять большой термос и карту залива?"
ENGLISH = Scene(
    username="mira.solberg",
    name="Mira Solberg",
    bio="Maps, mostly of places that flood.",
    talks=(
        Talk(
            username="jonas.lind",
            name="Jonas Lind",
            bio="Builds boats, slowly.",
            lines=(
                ("<", 1530, "The hull is out of the shed! Only one scratch."),
                (">", 1524, "Only one? You must have been very patient."),
                ("<", 1521, "Patient, or afraid of my sister, whose trailer it is."),
                (">", 1519, "When does she go into the water?"),
                ("<", 1518, "The boat or my sister?"),
                ("<", 47, "Saturday, if the wind behaves. Are you coming along?"),
                (">", 44, _SHALL_I_BRING),
                ("<", 41, "Both, please. The buoys were moved in spring and I only half believe my phone."),
                (">", 39, "I have the new survey at work. I will print it on something that survives a wave."),
                ("<", 12, "You are the best. Nine at the old jetty?"),
                (">", 9, "Nine it is."),
            ),
            answers={"Both, please. The buoys were moved in spring and I only half believe my phone.": _SHALL_I_BRING},
            reactions={"You are the best. Nine at the old jetty?": "❤️"},
            edits={"Nine it is.": "Mine it is."},
        ),
        Talk(
            username="lea.fontaine",
            name="Léa Fontaine",
            bio="Radio by night.",
            lines=(
                (">", 190, "How did the interview go?"),
                ("<", 23, "They want to hear the whole tape! Call you after six?"),
            ),
            unread=1,
        ),
        Talk(
            username="samir.haddad",
            name="Samir Haddad",
            bio="Bread, bikes, two daughters.",
            lines=(
                ("<", 95, "The oven is fixed."),
                ("<", 94, "Which means there is bread."),
                ("<", 93, "Which means you should come by before the children find it."),
            ),
            unread=3,
        ),
        Talk(
            username="diego.marin",
            name="Diego Marín",
            bio="",
            lines=(
                ("<", 320, "Thanks for the photos, the one with the heron is on our wall now."),
                (">", 300, "It looks good there?"),
            ),
        ),
        Talk(
            username="yuki.tanabe",
            name="Yuki Tanabe",
            bio="Trains and timetables.",
            lines=(
                (">", 1700, "Your train was on time, I suppose?"),
                ("<", 1690, "Four minutes early. I waited, out of politeness."),
            ),
        ),
        Talk(
            username="greta.holm",
            name="Greta Holm",
            bio="",
            lines=(("<", 4400, "The key is under the third pot, as ever."),),
        ),
        Talk(
            username="tom.okafor",
            name="Tom Okafor",
            bio="",
            lines=(
                ("<", 8800, "Chess on Thursday? I have learnt exactly one new opening."),
                (">", 8700, "Then I shall prepare for exactly one."),
            ),
        ),
    ),
    asking=(("nora.berg", "Nora Berg", "We met on the ferry."), ("ivo.petrov", "Ivo Petrov", "Sails number 212")),
)
RUSSIAN = Scene(
    username="elena.voronova",
    name="Елена Воронова",
    bio="Рисую карты рек.",
    talks=(
        Talk(
            username="pavel.zimin",
            name="Павел Зимин",
            bio="Строю лодки, не спеша.",
            lines=(
                ("<", 1530, "Корпус наконец вынесли из сарая! Всего одна царапина."),
                (">", 1524, "Всего одна? Терпения тебе не занимать."),
                ("<", 1521, "Терпение тут ни при чём: прицеп-то сестры."),
                (">", 1519, "Когда на воду?"),
                ("<", 47, "В субботу, если ветер не подведёт. Поедешь с нами?"),
                (">", 44, _TAKE_BOTH),
                ("<", 41, "И то и другое. Весной переставили бакены, а телефону я верю только наполовину."),
                (">", 39, "На работе есть новая съёмка. Распечатаю на чём-нибудь непромокаемом."),
                ("<", 12, "Ты чудо. В девять у старого причала?"),
                (">", 9, "В девять."),
            ),
            answers={"И то и другое. Весной переставили бакены, а телефону я верю только наполовину.": _TAKE_BOTH},
            reactions={"Ты чудо. В девять у старого причала?": "❤️"},
            edits={"В девять.": "В десять."},
        ),
        Talk(
            username="sonya.belova",
            name="Соня Белова",
            bio="Ночное радио.",
            lines=(
                (">", 190, "Как прошло интервью?"),
                ("<", 23, "Хотят послушать всю запись! Созвонимся после шести?"),
            ),
            unread=1,
        ),
        Talk(
            username="timur.akhmetov",
            name="Тимур Ахметов",
            bio="Хлеб, велосипеды, две дочки.",
            lines=(
                ("<", 95, "Печь починили."),
                ("<", 94, "А значит, есть хлеб."),
                ("<", 93, "Заходи, пока его не нашли дети."),
            ),
            unread=3,
        ),
        Talk(
            username="mark.levin",
            name="Марк Левин",
            bio="",
            lines=(("<", 320, "Спасибо за снимки, цапля теперь у нас на стене."), (">", 300, "И как она там?")),
        ),
        Talk(
            username="alina.tsoi",
            name="Алина Цой",
            bio="Поезда и расписания.",
            lines=(
                (">", 1700, "Поезд, конечно, пришёл вовремя?"),
                ("<", 1690, "На четыре минуты раньше. Подождала из вежливости."),
            ),
        ),
        Talk(
            username="vera.maslova",
            name="Вера Маслова",
            bio="",
            lines=(("<", 4400, "Ключ, как всегда, под третьим горшком."),),
        ),
    ),
    asking=(("kirill.snegov", "Кирилл Снегов", "Познакомились на пароме"), ("dasha.lugovaya", "Даша Луговая", "")),
)


async def play(api: Api, scene: Scene) -> Person:
    """Creates the users, sends their messages, and returns the viewing user."""
    me = await _person(api, scene.username, scene.name, scene.bio)
    for talk in scene.talks[::-1]:
        other = await _person(api, talk.username, talk.name, talk.bio)
        await api.befriend(me, other)
        sequence = await _write_all(me, other, talk)
        assert (await me.sees(other, sequence - talk.unread)).status_code in (204, 404, 422)
        assert (await other.sees(me, sequence)).status_code == 204
    for username, name, bio in scene.asking:
        asking = await _person(api, username, name, bio)
        assert (await asking.add(me)).status_code == 201
    return me


async def _write_all(me: Person, other: Person, talk: Talk) -> int:
    """Writes the conversation; returns the sequence of its last message."""
    sent: dict[str, Json] = {}
    for who, _, text in talk.lines:
        writer, reader = (me, other) if who == ">" else (other, me)
        body = {"text": talk.edits.get(text, text), "client_message_id": uuid4().hex}
        if text in talk.answers:
            body["reply_to"] = sent[talk.answers[text]]["message_id"]
        response = await writer.ask("POST", f"/v1/conversations/{reader.user_id}/messages", json=body)
        assert response.status_code == 201, response.text
        sent[text] = response.json()
        message_id = sent[text]["message_id"]
        if text in talk.edits:
            assert (await writer.edit(reader, message_id, text)).status_code == 200
        if text in talk.reactions:
            path = f"/v1/conversations/{writer.user_id}/messages/{message_id}/reaction"
            assert (await reader.ask("PUT", path, json={"emoji": talk.reactions[text]})).status_code == 204
    return len(sent)


async def _person(api: Api, username: str, name: str, bio: str) -> Person:
    person = await api.person(username=username, email=f"{username}@example.org", display_name=name)
    if bio:
        assert (await person.ask("PATCH", "/v1/profiles/me", json={"bio": bio})).status_code == 200
    return person


def written_at(scene: Scene, text: str, now: datetime) -> datetime | None:
    """The time at which the scene says that this text was written."""
    ages = (age for talk in scene.talks for _, age, written in talk.lines if written == text)
    age = next(ages, None)
    return None if age is None else now - timedelta(minutes=age)
