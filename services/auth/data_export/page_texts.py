"""Words of the readable pages in a copy of a user's data, in each language that an account may have."""

from collections.abc import Mapping

import msgspec

from contracts.values.field_types import LanguageCode


class PageTexts(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    # Says what this is; `{made_at}` is replaced.
    introduction: str
    # Titles of the lists and of the two objects, by the name of their file.
    titles: Mapping[str, str]
    # Labels of the members of JSON objects; one without a label is shown by its name.
    members: Mapping[str, str]
    overview: str
    previous: str
    following: str
    nothing: str
    yes: str
    no: str
    messages_with: str
    edited: str
    deleted: str
    seen: str
    answers: str


TEXTS: Mapping[LanguageCode, PageTexts] = {
    "en": PageTexts(
        title="A copy of your data",
        introduction="Made on {made_at}. The same data is in the JSON files beside these pages. Keep the file where "
        "only you can read it: it has your messages, and those of your friends to you.",
        titles={
            "account": "Account",
            "profile": "Profile",
            "sessions": "Logins",
            "failed_logins": "Failed logins",
            "friends": "Friends and requests",
            "blocks": "People whom you block",
            "reports": "Reports that you filed",
            "notifications": "Notifications",
            "conversations": "Conversations",
            "closed_conversations": "Your messages in closed conversations",
        },
        members={
            "user_id": "Person",
            "from_user_id": "From",
            "username": "Username",
            "email": "E-mail address",
            "email_verified": "Address confirmed",
            "verified": "Address confirmed",
            "totp": "Two-step verification",
            "display_name": "Name",
            "bio": "About",
            "avatar_url": "Picture",
            "presence": "Who sees when you are online",
            "language": "Language",
            "created_at": "Since",
            "updated_at": "Changed",
            "last_refreshed_at": "Last used",
            "ended_at": "Ended",
            "reason": "Reason",
            "device": "Device",
            "address": "Network address",
            "at": "Time",
            "since": "Since",
            "count": "How often",
            "state": "State",
            "comment": "Comment",
            "filed_at": "Time",
            "kind": "Kind",
            "read": "Read",
            "muted_until": "Muted until",
            "pinned": "Pinned",
            "archived": "Archived",
            "draft": "Draft",
            "unread_count": "Unread",
            "messages": "Messages",
            "text": "Text",
            "sent_at": "Sent",
            "edited_at": "Edited",
            "deleted": "Deleted",
        },
        overview="Overview",
        previous="Previous page",
        following="Next page",
        nothing="Nothing.",
        yes="yes",
        no="no",
        messages_with="Messages with {name}",
        edited="edited {at}",
        deleted="Deleted",
        seen="seen {at}",
        answers="In reply to {name}:",
    ),
    "ru": PageTexts(
        title="Копия ваших данных",
        introduction="Сделана {made_at}. Те же данные есть в файлах JSON рядом с этими страницами. Храните файл там, "
        "где его можете прочитать только вы: в нём ваши сообщения и сообщения друзей вам.",
        titles={
            "account": "Учётная запись",
            "profile": "Профиль",
            "sessions": "Входы",
            "failed_logins": "Неудачные входы",
            "friends": "Друзья и заявки",
            "blocks": "Кого вы заблокировали",
            "reports": "Ваши жалобы",
            "notifications": "Уведомления",
            "conversations": "Чаты",
            "closed_conversations": "Ваши сообщения в закрытых чатах",
        },
        members={
            "user_id": "Человек",
            "from_user_id": "От кого",
            "username": "Имя пользователя",
            "email": "Адрес почты",
            "email_verified": "Адрес подтверждён",
            "verified": "Адрес подтверждён",
            "totp": "Двухэтапная проверка",
            "display_name": "Имя",
            "bio": "О себе",
            "avatar_url": "Картинка",
            "presence": "Кто видит, что вы в сети",
            "language": "Язык",
            "created_at": "С какого времени",
            "updated_at": "Изменено",
            "last_refreshed_at": "Последнее использование",
            "ended_at": "Завершён",
            "reason": "Причина",
            "device": "Устройство",
            "address": "Сетевой адрес",
            "at": "Время",
            "since": "С какого времени",
            "count": "Сколько раз",
            "state": "Состояние",
            "comment": "Комментарий",
            "filed_at": "Время",
            "kind": "Вид",
            "read": "Прочитано",
            "muted_until": "Без звука до",
            "pinned": "Закреплён",
            "archived": "В архиве",
            "draft": "Черновик",
            "unread_count": "Не прочитано",
            "messages": "Сообщения",
            "text": "Текст",
            "sent_at": "Отправлено",
            "edited_at": "Изменено",
            "deleted": "Удалено",
        },
        overview="Обзор",
        previous="Предыдущая страница",
        following="Следующая страница",
        nothing="Ничего нет.",
        yes="да",
        no="нет",
        messages_with="Сообщения с {name}",
        edited="изменено {at}",
        deleted="Удалено",
        seen="просмотрено {at}",
        answers="В ответ на сообщение от {name}:",
    ),
}
