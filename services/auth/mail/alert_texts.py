"""Texts of the alerts: what happened to an account, and the link for someone who did not do it."""

from collections.abc import Mapping

import msgspec

from contracts.notification_kinds import (
    ALERTS_AN_HOUR,
    DATA_EXPORT,
    ERASURE_REQUESTED,
    NEW_DEVICE,
    PASSWORD_CHANGED,
    PASSWORD_RESET,
    REFRESH_TOKEN_REUSED,
    TWO_FACTOR_OFF,
    TWO_FACTOR_ON,
)
from contracts.values.field_types import LanguageCode
from services.auth.mail.mail_text import CIRCUMSTANCES, MailText
from services.auth.mail.mailbox_budgets import ALERT_MAILS


def _english(subject: str, happened: str) -> MailText:
    return MailText(
        subject=subject,
        opening=(
            "Hello {username},",
            happened,
            CIRCUMSTANCES,
            "If it was you, you need not do anything.",
            "If it was not you, end all sessions and set another password:",
        ),
        link="This was not me",
        closing=(
            "The link is good for 7 days, and asks before it does anything. We never ask for your password by mail.",
            "Your logins are listed in the settings of the messenger. You get at most "
            f"{ALERTS_AN_HOUR} such mails an hour; the next one covers what happened in between.",
        ),
    )


def _russian(subject: str, happened: str) -> MailText:
    return MailText(
        subject=subject,
        opening=(
            "Здравствуйте, {username}!",
            happened,
            CIRCUMSTANCES,
            "Если это были вы, делать ничего не нужно.",
            "Если это были не вы, завершите все сеансы и задайте новый пароль:",
        ),
        link="Это был не я",
        closing=(
            "Ссылка действует 7 дней и сначала спросит подтверждение. Мы никогда не спрашиваем пароль по почте.",
            "Ваши входы перечислены в настройках мессенджера. Таких писем приходит не больше "
            f"{ALERTS_AN_HOUR} в час; следующее относится и ко всему, что произошло между ними.",
        ),
    )


_ENGLISH = {
    NEW_DEVICE: _english(
        "Login from a new device", "Someone logged in to your account with your password, from a new device:"
    ),
    PASSWORD_CHANGED: _english("Your password was changed", "The password of your account was changed:"),
    PASSWORD_RESET: _english(
        "Your password was reset", "The password of your account was set again with a mail to this mailbox:"
    ),
    REFRESH_TOKEN_REUSED: _english(
        "A session was ended for safety",
        "A key of one of your sessions was used twice, so it may have been copied. The session has ended:",
    ),
    TWO_FACTOR_ON: _english("Two-step verification is on", "Two-step verification was turned on for your account:"),
    TWO_FACTOR_OFF: _english("Two-step verification is off", "Two-step verification was turned off for your account:"),
    DATA_EXPORT: _english(
        "A copy of your data was requested",
        "Someone who is logged in to your account requested a copy of all its data, with your messages. It can be "
        "downloaded for a day by a logged-in device once it is ready:",
    ),
    ERASURE_REQUESTED: msgspec.structs.replace(
        _english("Your account is to be deleted", ""),
        opening=(
            "Hello {username},",
            "Someone who knows your password has requested the deletion of your account {username}. All devices are "
            "logged out. In {good_for} the account and all of its data are erased for ever:",
            CIRCUMSTANCES,
            "If it was you, you need not do anything. To keep the account, log in before then.",
            "If it was not you, end all sessions and set another password; that also cancels the deletion:",
        ),
    ),
}
_RUSSIAN = {
    NEW_DEVICE: _russian("Вход с нового устройства", "В вашу учётную запись вошли по паролю с нового устройства:"),
    PASSWORD_CHANGED: _russian("Ваш пароль изменён", "Пароль вашей учётной записи изменён:"),
    PASSWORD_RESET: _russian(
        "Ваш пароль сброшен", "Пароль вашей учётной записи задан заново с помощью письма в этот ящик:"
    ),
    REFRESH_TOKEN_REUSED: _russian(
        "Сеанс завершён для безопасности",
        "Ключ одного из ваших сеансов использован дважды: возможно, его скопировали. Сеанс завершён:",
    ),
    TWO_FACTOR_ON: _russian(
        "Двухэтапная проверка включена", "Для вашей учётной записи включена двухэтапная проверка входа:"
    ),
    TWO_FACTOR_OFF: _russian(
        "Двухэтапная проверка выключена", "Для вашей учётной записи выключена двухэтапная проверка входа:"
    ),
    DATA_EXPORT: _russian(
        "Запрошена копия ваших данных",
        "С устройства, где выполнен вход в вашу учётную запись, запросили копию всех её данных, вместе с сообщениями. "
        "Когда она будет готова, её можно будет сутки скачивать после входа:",
    ),
    ERASURE_REQUESTED: msgspec.structs.replace(
        _russian("Ваша учётная запись будет удалена", ""),
        opening=(
            "Здравствуйте, {username}!",
            "Кто-то, кто знает ваш пароль, запросил удаление вашей учётной записи {username}. На всех устройствах "
            "выполнен выход. До удаления осталось {good_for}: потом учётная запись и все её данные будут стёрты "
            "навсегда:",
            CIRCUMSTANCES,
            "Если это были вы, делать ничего не нужно. Чтобы сохранить учётную запись, войдите в неё до этого.",
            "Если это были не вы, завершите все сеансы и задайте новый пароль: это отменит и удаление:",
        ),
    ),
}
# By kind of mail.
ALERT_TEXTS: Mapping[LanguageCode, Mapping[str, MailText]] = {
    "en": {ALERT_MAILS[kind]: text for kind, text in _ENGLISH.items()},
    "ru": {ALERT_MAILS[kind]: text for kind, text in _RUSSIAN.items()},
}
