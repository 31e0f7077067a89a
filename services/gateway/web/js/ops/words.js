// Every word of the operators' page, in each language of the messenger.

import { currentLanguage, locale } from "../words.js";

const ENGLISH = {
  title: "Operators", sections: "Sections", overview: "Overview", events: "Events", letters: "Dead letters", logins: "Sessions",
  live: "Live", paused: "Paused", lost: "No answer", pause_hint: "Stop and resume updates", messenger: "Messenger", log_out: "Log out", skip: "Skip to the contents",
  log_in: "Log in as an operator", log_in_hint: "With your account of the messenger.",
  denied: "This account is not an operator's", denied_hint: "Whoever runs this system can make it one, on its machine:", try_again: "Try again",
  no_page: "There is no operators' page here", no_page_hint: "This deployment runs without the process behind it.",
  events_per_second: "Events per second", stored: "Events stored", behind: "Furthest behind", dead: "Dead letters",
  on_disk: "{size} on disk", ago: "{minutes} min ago", now: "now", most: "peak {n}", nobody_behind: "Everything is applied", behind_by: "{name}, {seconds} s", none_dead: "Everything could be applied", waiting_too: { one: "and {n} waits behind", other: "and {n} wait behind" },
  streams: "Streams", read_models: "Read models", services: "Services",
  per_second: "{rate}/s", stream_events: "events", name: "Name", state: "State", lag: "Behind by", rate: "Events/s", applied: "Applied", size: "On disk", trend: "Last minutes",
  lag_none: "nothing", lag_events: { one: "{n} event", other: "{n} events" }, unknown: "not known", version: "version {version}, build {build}",
  progress: "{percent}, {left} left", progress_open: "{percent}", last_error: "Last error {when}: {error}",
  s_live: "live", s_building: "building", s_returning: "returning", s_interrupted: "interrupted", s_missing: "missing", s_failed: "failed", s_unknown: "unknown",
  s_serving: "serving", s_partly: "some replicas", s_not_ready: "not ready", s_down: "down",
  unreachable: "{part} does not answer: {reason}",
  all: "All", stream: "Stream", type: "Type of event", every_type: "Every type", aggregate: "Aggregate", aggregate_hint: "An id, such as of a user or a session",
  follow: "Follow", following: "Following", older: "Show older ones", no_events: "Nothing like that has happened.", no_more: "That is where it began.", private: "private: its data is never shown here",
  only_this: "Only this aggregate", skipped: "{n} more came than can be shown.", unreadable: "{n} messages are no events of ours.", masked: "What is personal stands as •••.", copy: "Copy", copied: "Copied.",
  waiting_letters: "Waiting", discarded_letters: "Given up", no_letters: "No dead letters", no_letters_hint: "Every read model could apply every event.", no_discards: "Nothing was given up.",
  l_failed: "failed", l_parked: "waits", l_discarded: "given up", behind_it: { one: "{n} event waits behind it", other: "{n} events wait behind it" }, attempts: { one: "tried once", other: "tried {n} times" }, last_tried: "last {when}", behind_letter: "waits behind {id}",
  by: "by {name}, {when}", show_event: "Show the event", hide_event: "Hide the event", retry: "Try again", discard: "Give up…", discard_title: "Give this event up?", discard_hint: "This version of {projection} leaves it out for good, in every rebuild too. The event stays in its stream. Your name and the reason are kept.",
  reason: "Reason", cancel: "Cancel", give_up: "Give it up", retried: { one: "{n} event was applied.", other: "{n} events were applied." }, still: "It still fails: {why}", refused: "It could not be tried just now: {why}", given_up: "Given up.",
  more_letters: "There are more than these; the command line shows all.",
  user: "User", user_hint: "A username or an id", since: "Since", last_hour: "1 hour", last_day: "24 hours", last_week: "7 days", ever: "Ever", refreshes: "Refreshes too",
  at: "Time", event: "What", device: "Device", address: "Address", session: "Session", no_logins: "Nobody logged in or out in that time.", more_logins: "There are older ones: narrow the time or the user.", not_whole: "Some events could not be read, so this may not be all.",
  logged_in: "logged in", refreshed: "refreshed", ended: "ended", r_logout: "logged out", r_revoked_elsewhere: "logged out from elsewhere", r_refresh_token_reused: "a spent token was used", r_password_changed: "password changed", r_password_reset: "password reset", r_expired: "ran out",
  e_not_found: "It is not there any more.", e_other: "That did not work: {detail}",
};

const RUSSIAN = {
  title: "Операторская", sections: "Разделы", overview: "Обзор", events: "События", letters: "Сбои", logins: "Сеансы",
  live: "Обновляется", paused: "Остановлено", lost: "Нет ответа", pause_hint: "Остановить и продолжить обновление", messenger: "Мессенджер", log_out: "Выйти", skip: "К содержанию",
  log_in: "Вход для операторов", log_in_hint: "С вашей учётной записью мессенджера.",
  denied: "Эта учётная запись не операторская", denied_hint: "Сделать её такой может тот, кто управляет системой, на её машине:", try_again: "Повторить",
  no_page: "Здесь нет страницы операторов", no_page_hint: "Система работает без процесса, который за ней стоит.",
  events_per_second: "Событий в секунду", stored: "Всего событий", behind: "Наибольшее отставание", dead: "Не обработано",
  on_disk: "{size} на диске", ago: "{minutes} мин назад", now: "сейчас", most: "пик {n}", nobody_behind: "Всё обработано", behind_by: "{name}, {seconds} с", none_dead: "Обработать удалось всё", waiting_too: { one: "и {n} ждёт за ними", few: "и {n} ждут за ними", many: "и {n} ждут за ними", other: "и {n} ждут за ними" },
  streams: "Потоки", read_models: "Модели чтения", services: "Службы",
  per_second: "{rate}/с", stream_events: "событий", name: "Название", state: "Состояние", lag: "Отстаёт на", rate: "Событий/с", applied: "Обработка", size: "На диске", trend: "Последние минуты",
  lag_none: "не отстаёт", lag_events: { one: "{n} событие", few: "{n} события", many: "{n} событий", other: "{n} события" }, unknown: "неизвестно", version: "версия {version}, сборка {build}",
  progress: "{percent}, осталось {left}", progress_open: "{percent}", last_error: "Последняя ошибка {when}: {error}",
  s_live: "работает", s_building: "строится", s_returning: "возвращается", s_interrupted: "прервана", s_missing: "нет", s_failed: "ошибка", s_unknown: "неизвестно",
  s_serving: "работает", s_partly: "часть процессов", s_not_ready: "не готова", s_down: "не отвечает",
  unreachable: "{part} не отвечает: {reason}",
  all: "Все", stream: "Поток", type: "Вид события", every_type: "Все виды", aggregate: "Агрегат", aggregate_hint: "Номер, например пользователя или сеанса",
  follow: "Следить", following: "Следим", older: "Показать более ранние", no_events: "Такого не происходило.", no_more: "Это самое начало.", private: "закрытое: его данные здесь не показываются",
  only_this: "Только этот агрегат", skipped: "Пришло ещё {n}: больше, чем можно показать.", unreadable: "Сообщений не нашего вида: {n}.", masked: "Личное показано как •••.", copy: "Копировать", copied: "Скопировано.",
  waiting_letters: "Ждут", discarded_letters: "Отброшены", no_letters: "Необработанных событий нет", no_letters_hint: "Каждая модель чтения обработала каждое событие.", no_discards: "Ничего не отброшено.",
  l_failed: "ошибка", l_parked: "ждёт", l_discarded: "отброшено", behind_it: { one: "за ним ждёт {n} событие", few: "за ним ждут {n} события", many: "за ним ждут {n} событий", other: "за ним ждут {n} события" }, attempts: { one: "{n} попытка", few: "{n} попытки", many: "{n} попыток", other: "{n} попытки" }, last_tried: "последняя {when}", behind_letter: "ждёт за {id}",
  by: "{name}, {when}", show_event: "Показать событие", hide_event: "Скрыть событие", retry: "Повторить", discard: "Отбросить…", discard_title: "Отбросить это событие?", discard_hint: "Эта версия {projection} обойдётся без него навсегда, и при перестройке тоже. В потоке событие останется. Ваше имя и причина сохранятся.",
  reason: "Причина", cancel: "Отмена", give_up: "Отбросить", retried: { one: "Обработано {n} событие.", few: "Обработано {n} события.", many: "Обработано {n} событий.", other: "Обработано {n} события." }, still: "Снова не удалось: {why}", refused: "Сейчас попробовать нельзя: {why}", given_up: "Отброшено.",
  more_letters: "Здесь не все; все покажет командная строка.",
  user: "Пользователь", user_hint: "Имя пользователя или номер", since: "За", last_hour: "1 час", last_day: "24 часа", last_week: "7 дней", ever: "Всё время", refreshes: "И обновления",
  at: "Время", event: "Что", device: "Устройство", address: "Адрес", session: "Сеанс", no_logins: "За это время никто не входил и не выходил.", more_logins: "Есть и более ранние: сузьте время или пользователя.", not_whole: "Часть событий прочесть не удалось, здесь может быть не всё.",
  logged_in: "вход", refreshed: "обновление", ended: "конец", r_logout: "выход", r_revoked_elsewhere: "завершён с другого устройства", r_refresh_token_reused: "повторно использован код", r_password_changed: "пароль изменён", r_password_reset: "пароль сброшен", r_expired: "истёк срок",
  e_not_found: "Этого уже нет.", e_other: "Не получилось: {detail}",
};

export const WORDS = { en: ENGLISH, ru: RUSSIAN };

/** A phrase; `n` chooses its plural, names in braces are replaced. */
export function say(key, values = {}) {
  let phrase = WORDS[currentLanguage()][key] ?? ENGLISH[key] ?? key;
  if (typeof phrase === "object") phrase = phrase[new Intl.PluralRules(currentLanguage()).select(values.n)] ?? phrase.other;
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => (name === "n" ? number(values.n) : values[name] ?? whole));
}

/** A word that the interface has by a name; the name itself where there is no word yet. */
export function word(prefix, name) {
  const key = `${prefix}_${name}`;
  return key in ENGLISH ? say(key) : name;
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
}

export function rate(value) {
  return number(value, value < 10 ? 1 : 0);
}

export function percent(value) {
  return new Intl.NumberFormat(locale(), { style: "percent" }).format(value);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function size(bytes) {
  let value = bytes, step = 0;
  for (; value >= 1000 && step < UNITS.length - 1; step += 1) value /= 1000;
  return new Intl.NumberFormat(locale(), { style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: value < 10 && step ? 1 : 0 }).format(value);
}

export function span(seconds) {
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 }).format(value);
}

/** With the second, and the day where it is not today. */
export function moment(when) {
  const at = new Date(when);
  const time = at.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString(locale(), { day: "numeric", month: "short" })}, ${time}`;
}
