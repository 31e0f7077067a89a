"""Texts of the mails, in each language that an account may have.

The English texts are plain ASCII, so they need no transfer encoding.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

from contracts.values.field_types import LANGUAGES, LanguageCode
from services.auth.mail.alert_texts import ALERT_TEXTS
from services.auth.mail.mail_text import MailText
from services.auth.mail.mailbox_budgets import (
    ADDRESS_TAKEN_NOTICE,
    ANOTHER_VERIFICATION_MAIL,
    DATA_EXPORT_MAIL,
    EMAIL_CHANGE_MAIL,
    EMAIL_CHANGE_REQUESTED_MAIL,
    EMAIL_CHANGE_UNDONE_MAIL,
    EMAIL_CHANGED_MAIL,
    RESET_MAIL,
    VERIFICATION_MAIL,
)

# Text of the verification mail when several registrations are pending.
SEVERAL_REGISTRATIONS = "several_registrations"
# Text of the reset mail while the password is void.
VOID_PASSWORD = "void_password"  # noqa: S105 - a text


_ENGLISH_VERIFICATION = MailText(
    subject="Confirm your e-mail address",
    opening=(
        "Hello {username},",
        "An account named {username} was registered with this address. If it is yours, confirm the address:",
    ),
    link="Confirm the address",
    hint="or enter this token where you registered:",
    closing=(
        "The link and the token are good for {good_for}.",
        "If you have not registered, do not confirm the address: the person who registered knows the password. Open "
        'the link and choose "This is not me", or do nothing: no one can use this address without the token.',
    ),
)

_RUSSIAN_VERIFICATION = MailText(
    subject="Подтвердите свой адрес",
    opening=(
        "Здравствуйте, {username}!",
        "С этим адресом создана учётная запись {username}. Если она ваша, подтвердите адрес:",
    ),
    link="Подтвердить адрес",
    hint="или введите этот код там, где вы регистрировались:",
    closing=(
        "Ссылка и код действуют {good_for}.",
        "Если вы не регистрировались, не подтверждайте адрес: пароль знает тот, кто создал учётную запись. Откройте "
        "ссылку и нажмите «Это не я» или просто ничего не делайте: без кода этим адресом никто не воспользуется.",
    ),
)

_ENGLISH: Mapping[str, MailText] = {
    VERIFICATION_MAIL: _ENGLISH_VERIFICATION,
    ANOTHER_VERIFICATION_MAIL: _ENGLISH_VERIFICATION,
    SEVERAL_REGISTRATIONS: MailText(
        subject="Confirm your e-mail address",
        opening=(
            "Hello,",
            "Several accounts were registered with this address. The first one that is confirmed gets it, and the "
            "others end. Confirm only the one that is yours: you need its password for that.",
        ),
        heading="Account {username}, good for {good_for}:",
        link="Confirm {username}",
        hint="or enter this token where you registered:",
        closing=("If none is yours, do nothing: no one can use this address without a token.",),
    ),
    RESET_MAIL: MailText(
        subject="Set another password",
        opening=(
            "Hello {username},",
            "Someone, we hope it was you, wants to set another password for your account. Do it here:",
        ),
        link="Set another password",
        hint="or enter this token together with the new password:",
        closing=(
            "The link and the token are good once and for {good_for}. All devices have to log in again after that.",
            "If it was not you, do nothing: your password stays as it is.",
        ),
    ),
    VOID_PASSWORD: MailText(
        subject="Set a new password",
        opening=(
            "Hello {username},",
            "The password of your account is void. Set a new one here:",
        ),
        link="Set a new password",
        hint="or enter this token together with the new password:",
        closing=(
            "The link and the token are good once and for {good_for}. Until a new password is set, no one can log in "
            "to your account.",
        ),
    ),
    ADDRESS_TAKEN_NOTICE: MailText(
        subject="Someone wants to use your address",
        opening=(
            "Hello {username},",
            "Someone has registered with this address, or wants to change another account's address to it. It belongs "
            "to your account {username} already. Nothing has changed, and no one else can use it.",
            "If it was you, log in to the account that you have, or set another password if you have forgotten it. If "
            "it was not you, you need not do anything.",
        ),
        link="Log in",
        closing=("However often this happens, you get at most one such mail an hour.",),
    ),
    EMAIL_CHANGE_MAIL: MailText(
        subject="Confirm your new e-mail address",
        opening=(
            "Hello,",
            "The account {username} is to use this address from now on. If it is yours, confirm the address; you need "
            "the account's password for that:",
        ),
        link="Confirm the address",
        hint="or enter this token where you asked for the change:",
        closing=(
            "The link and the token are good for {good_for}.",
            'If you have not asked for this, open the link and choose "This is not me", or do nothing: without the '
            "token and the password the account cannot use this address.",
        ),
    ),
    EMAIL_CHANGE_REQUESTED_MAIL: MailText(
        subject="Your e-mail address is to be changed",
        opening=(
            "Hello {username},",
            "Someone who knows your password has asked to change the e-mail address of your account {username}. "
            "Nothing has changed yet: the new address still has to be confirmed.",
            "If it was you, you need not do anything here.",
            "If it was not you, end all sessions and set another password; that also cancels the request:",
        ),
        link="This was not me",
        closing=("The link is good for 7 days, and asks before it does anything.",),
    ),
    EMAIL_CHANGED_MAIL: MailText(
        subject="Your e-mail address was changed",
        opening=(
            "Hello {username},",
            "Your account {username} has another e-mail address now. This one still belongs to it for {good_for}: you "
            "can log in and reset your password with it.",
            "If it was not you, undo the change. That logs out all devices and makes the password void; you get "
            "another mail here to set a new one:",
        ),
        link="Undo the change",
        hint="or enter this token where the change is undone:",
        closing=(
            "The link and the token are good for {good_for}, also if the address is changed again.",
            "If it was you, you need not do anything.",
        ),
    ),
    DATA_EXPORT_MAIL: MailText(
        subject="The copy of your data is ready",
        opening=(
            "Hello {username},",
            "The copy of your data that you requested is ready. Download it in the settings of the messenger within a "
            "day:",
        ),
        link="Open the settings",
        closing=(
            "The file has all of your messages: keep it where only you can read it. The link opens the messenger and "
            "gives access to no one who is not logged in.",
        ),
    ),
    EMAIL_CHANGE_UNDONE_MAIL: MailText(
        subject="The change of your e-mail address was undone",
        opening=(
            "Hello {username},",
            "The account {username} no longer uses this address: its owner has returned to an earlier one.",
        ),
        link="Log in",
    ),
}

_RUSSIAN: Mapping[str, MailText] = {
    VERIFICATION_MAIL: _RUSSIAN_VERIFICATION,
    ANOTHER_VERIFICATION_MAIL: _RUSSIAN_VERIFICATION,
    SEVERAL_REGISTRATIONS: MailText(
        subject="Подтвердите свой адрес",
        opening=(
            "Здравствуйте!",
            "С этим адресом создано несколько учётных записей. Адрес достанется той, которую подтвердят первой, "
            "остальные регистрации будут отменены. Подтвердите только свою: для этого понадобится её пароль.",
        ),
        heading="Учётная запись {username}, код действует {good_for}:",
        link="Подтвердить {username}",
        hint="или введите этот код там, где вы регистрировались:",
        closing=("Если ни одна не ваша, ничего не делайте: без кода этим адресом никто не воспользуется.",),
    ),
    RESET_MAIL: MailText(
        subject="Смена пароля",
        opening=(
            "Здравствуйте, {username}!",
            "Кто-то (надеемся, что вы) хочет сменить пароль вашей учётной записи. Это можно сделать здесь:",
        ),
        link="Сменить пароль",
        hint="или введите этот код вместе с новым паролем:",
        closing=(
            "Ссылка и код одноразовые и действуют {good_for}. После смены пароля на всех устройствах придётся войти "
            "заново.",
            "Если это были не вы, ничего не делайте: пароль останется прежним.",
        ),
    ),
    VOID_PASSWORD: MailText(
        subject="Задайте новый пароль",
        opening=(
            "Здравствуйте, {username}!",
            "Пароль вашей учётной записи больше не действует. Задайте новый здесь:",
        ),
        link="Задать пароль",
        hint="или введите этот код вместе с новым паролем:",
        closing=(
            "Ссылка и код одноразовые и действуют {good_for}. Пока новый пароль не задан, войти в учётную запись не "
            "сможет никто.",
        ),
    ),
    ADDRESS_TAKEN_NOTICE: MailText(
        subject="Кто-то пытается использовать ваш адрес",
        opening=(
            "Здравствуйте, {username}!",
            "Кто-то указал этот адрес при регистрации или хочет перевести на него другую учётную запись, но адрес уже "
            "принадлежит вашей учётной записи {username}. Ничего не изменилось, и никто другой этим адресом не "
            "воспользуется.",
            "Если это были вы, войдите в свою учётную запись или смените пароль, если забыли его. Если не вы, делать "
            "ничего не нужно.",
        ),
        link="Войти",
        closing=("Как бы часто это ни повторялось, такое письмо приходит не чаще раза в час.",),
    ),
    EMAIL_CHANGE_MAIL: MailText(
        subject="Подтвердите новый адрес",
        opening=(
            "Здравствуйте!",
            "Этот адрес указан как новый для учётной записи {username}. Если она ваша, подтвердите адрес: для этого "
            "понадобится её пароль.",
        ),
        link="Подтвердить адрес",
        hint="или введите этот код там, где вы меняли адрес:",
        closing=(
            "Ссылка и код действуют {good_for}.",
            "Если вы об этом не просили, откройте ссылку и нажмите «Это не я» или просто ничего не делайте: без кода и "
            "пароля учётная запись этот адрес не получит.",
        ),
    ),
    EMAIL_CHANGE_REQUESTED_MAIL: MailText(
        subject="Запрошена смена вашего адреса",
        opening=(
            "Здравствуйте, {username}!",
            "Кто-то, кто знает ваш пароль, хочет сменить адрес вашей учётной записи {username}. Пока ничего не "
            "изменилось: новый адрес ещё нужно подтвердить.",
            "Если это были вы, здесь ничего делать не нужно.",
            "Если это были не вы, завершите все сеансы и задайте новый пароль: это отменит и смену адреса.",
        ),
        link="Это был не я",
        closing=("Ссылка действует 7 дней и сначала спросит подтверждение.",),
    ),
    EMAIL_CHANGED_MAIL: MailText(
        subject="Ваш адрес изменён",
        opening=(
            "Здравствуйте, {username}!",
            "У вашей учётной записи {username} теперь другой адрес. Этот адрес остаётся за ней ещё {good_for}: с ним "
            "можно войти и сменить пароль.",
            "Если это были не вы, отмените смену адреса. Тогда на всех устройствах будет выполнен выход, а пароль "
            "перестанет действовать; на этот адрес придёт письмо, чтобы задать новый:",
        ),
        link="Отменить смену адреса",
        hint="или введите этот код там, где отменяют смену адреса:",
        closing=(
            "Ссылка и код действуют {good_for}, даже если адрес сменят ещё раз.",
            "Если это были вы, делать ничего не нужно.",
        ),
    ),
    DATA_EXPORT_MAIL: MailText(
        subject="Копия ваших данных готова",
        opening=(
            "Здравствуйте, {username}!",
            "Копия ваших данных, которую вы запросили, готова. В течение суток её можно скачать в настройках "
            "мессенджера:",
        ),
        link="Открыть настройки",
        closing=(
            "В файле все ваши сообщения: храните его там, где его можете прочитать только вы. Ссылка открывает "
            "мессенджер и ничего не даёт тому, кто не вошёл.",
        ),
    ),
    EMAIL_CHANGE_UNDONE_MAIL: MailText(
        subject="Смена адреса отменена",
        opening=(
            "Здравствуйте, {username}!",
            "Учётная запись {username} больше не использует этот адрес: её владелец вернул прежний.",
        ),
        link="Войти",
    ),
}


# From here on a duration is written in days.
_DAYS_FROM = 72


def _english_hours(hours: int) -> str:
    if hours >= _DAYS_FROM:
        return f"{round(hours / 24)} days"
    return f"{hours} hours" if hours > 1 else "an hour" if hours == 1 else "less than an hour"


def _russian_hours(hours: int) -> str:
    if hours < 1:
        return "меньше часа"
    if hours >= _DAYS_FROM:
        return _russian_plural(round(hours / 24), "день", "дня", "дней")
    return _russian_plural(hours, "час", "часа", "часов")


def _russian_plural(count: int, one: str, few: str, many: str) -> str:
    if count % 10 == 1 and count % 100 != 11:
        return f"{count} {one}"
    return f"{count} {few}" if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else f"{count} {many}"


_TEXTS: Mapping[LanguageCode, Mapping[str, MailText]] = {
    "en": {**_ENGLISH, **ALERT_TEXTS["en"]},
    "ru": {**_RUSSIAN, **ALERT_TEXTS["ru"]},
}
_HOURS: Mapping[LanguageCode, Callable[[int], str]] = {"en": _english_hours, "ru": _russian_hours}


def language_of(stored: str) -> LanguageCode:
    """Returns the account's language, or the default if this release has no texts in it."""
    return next((language for language in LANGUAGES if language == stored), LANGUAGES[0])


def text_of(kind: str, language: LanguageCode) -> MailText:
    return _TEXTS[language][kind]


def in_words(span: timedelta, language: LanguageCode) -> str:
    """Formats a duration, rounded to whole hours, or to whole days from three days on."""
    return _HOURS[language](round(span.total_seconds() / 3600))
