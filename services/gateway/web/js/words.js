// Every word the messenger says, in each of its languages.

const ENGLISH = {
  app: "Vestnik",
  tagline: "Messages that are kept.",
  log_in: "Log in", log_out: "Log out", register: "Create an account", login: "E-mail or username",
  email: "E-mail", username: "Username", password: "Password", display_name: "Name", new_password: "New password",
  current_password: "Current password", no_account: "No account yet?", have_account: "Have an account already?",
  username_hint: "3 to 32 of a–z, 0–9, _ and .", password_hint: "At least 8 characters; not a common one, and without your name",
  forgot: "Forgot the password?", reset_title: "A new password", reset_hint: "If there is an account with this address, a mail with a token is on its way.",
  reset_ask: "Send me a token", reset_confirm: "Set the new password", reset_done: "The password is changed. Log in with it.",
  verify_title: "Check your mail", verify_hint: "We have sent a mail to {email}. Paste its token here:", token: "Token",
  confirm_title: "Is {name} your account?", confirm_hint: "An account named {name} was registered with your address. Confirm it only if you have registered it yourself: who registered it knows its password.",
  confirm_several: "Several accounts were registered with your address. The first one that is confirmed gets it. Enter the password of {name} if it is yours.",
  confirm_yes: "Confirm", not_me: "This is not me", confirmed: "The address is confirmed. Log in as {name}.", not_me_done: "The registration of {name} has ended. You need not do anything else.",
  verify: "Verify", resend: "Send it once more", resent: "Another mail is on its way.", show_mail: "Show the mail", no_mail: "No mail has come yet.",
  mail_shown: "This system runs for development: mails are kept in a folder, and this is the latest to you.",
  back_to_login: "Back to logging in",
  chats: "Chats", people: "People", notifications: "Notifications", settings: "Settings", main_menu: "Main",
  search_people: "Find people", search_hint: "Name or username", find_somebody: "Find somebody", found_none: "Nobody found.", search_chats: "Search chats",
  no_chats: "No conversations yet.", no_chats_hint: "Find somebody under People and ask to be friends.",
  pick_chat: "Choose a conversation.", write: "Write a message", too_long: "The message has {n} characters; 4,000 are the most. Shorten it, or send it in parts.", send: "Send", say_hello: "Say hello: this is the beginning.",
  requests: "Requests", sent_requests: "Asked by you", friends: "Friends", none: "None.",
  add: "Add", accept: "Accept", decline: "Decline", withdraw: "Withdraw", remove: "Remove", asked: "Asked", open_chat: "Write",
  remove_sure: "Remove {name} from your friends? Neither of you will see the conversation until you are friends again.",
  cancel: "Cancel", save: "Save", saved: "Saved.", close: "Close", back: "Back", retry: "Try again", discard: "Discard",
  you: "You", unread: { one: "{n} unread message", other: "{n} unread messages" }, to_newest: "To the newest messages",
  seen: "Seen", sent: "Sent", waiting: "Waiting to be sent", failed: "Not sent: {why}",
  today: "Today", yesterday: "Yesterday",
  offline: "No connection. What you write is kept and goes out when it is back.", connecting: "Connecting…",
  notification_friend_request: "{name} asks to be your friend", notification_friend_accepted: "{name} accepted your request",
  notification_message: "{name} wrote to you", no_notifications: "Nothing has happened yet.", mark_all_read: "Mark all as read", new: "New",
  profile: "Profile", bio: "About you", appearance: "Appearance", theme: "Colours", theme_system: "As the system", theme_light: "Light", theme_dark: "Dark",
  language: "Language", sessions: "Where you are logged in", this_session: "This one", last_used: "Last used {when}", revoke: "Log out there",
  revoke_others: "Log out everywhere else", since: "since {when}", change_password: "Change the password", password_changed: "The password is changed, and all other sessions have ended.",
  verified: "E-mail verified", unknown_device: "Unknown device",
  ended_logout: "You are logged out.", ended: "This session has ended. Log in again.", ended_elsewhere: "You were logged out from another device.",
  ended_password: "The password was changed: log in with the new one.",
  e_invalid_credentials: "Login or password is wrong. Until your address is confirmed, log in with the username.", e_email_not_verified: "The e-mail address is not verified yet.",
  e_password_required: "Several accounts wait for this address: the password of this one is needed.", e_username_taken: "This username is taken.",
  e_token_expired: "The token has run out. Ask for another one.", e_invalid_token: "This is not a good token.",
  e_rate_limited: "Too many tries. Wait {seconds} s.", e_invalid: "Please check: {detail}", e_offline: "No connection.",
  e_not_friends: "You are not friends any more.", e_user_not_found: "There is no such person.", e_other: "That did not work. Try again in a moment.",
  e_overloaded: "The server is busy. Try again in a moment.", e_history_lost: "Nothing can be changed just now: the server is being repaired.",
  e_at_username: "A username has 3 to 32 of a–z, 0–9, _ and ., and some are reserved.",
  e_at_display_name: "A name has 1 to 64 visible characters.", e_at_bio: "The text about you has up to 500 visible characters.", e_at_text: "A message has 1 to 4,000 characters, not white space alone.",
  e_weak_password: "This password is guessed first. Choose one that is less common and does not contain your name or address.",
  e_at_password: "A password has 8 characters to 1,024 bytes.", e_at_new_password: "A password has 8 characters to 1,024 bytes.",
  shortcut: "Ctrl+K finds, Alt+↑ and Alt+↓ change the chat, Esc goes back.",
  e_request_too_soon: "This person has declined. Ask again later.", e_too_many_pending_requests: "Too many of your requests are waiting. Withdraw some first.",
  loading: "Loading…", beginning: "The beginning of the conversation",
  skip: "Skip to the conversation",
};

const RUSSIAN = {
  app: "Вестник",
  tagline: "Сообщения, которые не теряются.",
  log_in: "Войти", log_out: "Выйти", register: "Создать учётную запись", login: "Почта или имя пользователя",
  email: "Почта", username: "Имя пользователя", password: "Пароль", display_name: "Имя", new_password: "Новый пароль",
  current_password: "Нынешний пароль", no_account: "Ещё нет учётной записи?", have_account: "Уже есть учётная запись?",
  username_hint: "от 3 до 32 знаков: a–z, 0–9, _ и .", password_hint: "Не меньше 8 знаков; не из самых частых и без вашего имени",
  forgot: "Забыли пароль?", reset_title: "Новый пароль", reset_hint: "Если с этим адресом есть учётная запись, письмо с кодом уже в пути.",
  reset_ask: "Прислать код", reset_confirm: "Сменить пароль", reset_done: "Пароль изменён. Войдите с новым.",
  verify_title: "Проверьте почту", verify_hint: "Мы отправили письмо на {email}. Вставьте код из него сюда:", token: "Код",
  confirm_title: "{name} — ваша учётная запись?", confirm_hint: "С вашим адресом создана учётная запись {name}. Подтвердите её, только если создали её сами: пароль знает тот, кто её создал.",
  confirm_several: "С вашим адресом создано несколько учётных записей. Адрес достанется той, которую подтвердят первой. Если {name} — ваша, введите её пароль.",
  confirm_yes: "Подтвердить", not_me: "Это не я", confirmed: "Адрес подтверждён. Войдите как {name}.", not_me_done: "Учётная запись {name} не будет создана. Больше ничего делать не нужно.",
  verify: "Подтвердить", resend: "Отправить ещё раз", resent: "Ещё одно письмо в пути.", show_mail: "Показать письмо", no_mail: "Письма пока нет.",
  mail_shown: "Система запущена для разработки: письма лежат в папке, это последнее из них.",
  back_to_login: "Назад ко входу",
  chats: "Чаты", people: "Люди", notifications: "Уведомления", settings: "Настройки", main_menu: "Главное",
  search_people: "Найти людей", search_hint: "Имя или имя пользователя", find_somebody: "Найти собеседника", found_none: "Никого не нашлось.", search_chats: "Поиск по чатам",
  no_chats: "Разговоров пока нет.", no_chats_hint: "Найдите кого-нибудь в разделе «Люди» и предложите дружбу.",
  pick_chat: "Выберите разговор.", write: "Напишите сообщение", too_long: "Знаков в сообщении: {n}, а можно не больше 4000. Сократите его или отправьте по частям.", send: "Отправить", say_hello: "Поздоровайтесь: это начало разговора.",
  requests: "Запросы", sent_requests: "Вы предложили", friends: "Друзья", none: "Пусто.",
  add: "Добавить", accept: "Принять", decline: "Отклонить", withdraw: "Отозвать", remove: "Удалить", asked: "Запрос отправлен", open_chat: "Написать",
  remove_sure: "Удалить {name} из друзей? Разговор будет закрыт для обоих, пока вы снова не подружитесь.",
  cancel: "Отмена", save: "Сохранить", saved: "Сохранено.", close: "Закрыть", back: "Назад", retry: "Повторить", discard: "Удалить",
  you: "Вы", unread: { one: "{n} непрочитанное сообщение", few: "{n} непрочитанных сообщения", many: "{n} непрочитанных сообщений", other: "{n} непрочитанных сообщений" }, to_newest: "К новым сообщениям",
  seen: "Прочитано", sent: "Отправлено", waiting: "Ждёт отправки", failed: "Не отправлено: {why}",
  today: "Сегодня", yesterday: "Вчера",
  offline: "Нет связи. Написанное сохранится и уйдёт, когда она появится.", connecting: "Соединение…",
  notification_friend_request: "{name} предлагает дружбу", notification_friend_accepted: "{name}: ваш запрос принят",
  notification_message: "{name}: новое сообщение", no_notifications: "Пока ничего не произошло.", mark_all_read: "Отметить всё прочитанным", new: "Новое",
  profile: "Профиль", bio: "О себе", appearance: "Вид", theme: "Цвета", theme_system: "Как в системе", theme_light: "Светлые", theme_dark: "Тёмные",
  language: "Язык", sessions: "Где вы вошли", this_session: "Это устройство", last_used: "Последний раз {when}", revoke: "Выйти там",
  revoke_others: "Выйти везде, кроме этого", since: "с {when}", change_password: "Сменить пароль", password_changed: "Пароль изменён, все другие сеансы завершены.",
  verified: "Почта подтверждена", unknown_device: "Неизвестное устройство",
  ended_logout: "Вы вышли.", ended: "Сеанс завершён. Войдите снова.", ended_elsewhere: "Сеанс завершён с другого устройства.",
  ended_password: "Пароль изменён: войдите с новым.",
  e_invalid_credentials: "Неверное имя или пароль. Пока почта не подтверждена, входите по имени пользователя.", e_email_not_verified: "Почта ещё не подтверждена.",
  e_password_required: "Этого адреса ждут несколько учётных записей: нужен пароль этой.", e_username_taken: "Это имя пользователя занято.",
  e_token_expired: "Срок кода истёк. Запросите другой.", e_invalid_token: "Код неверен.",
  e_rate_limited: "Слишком много попыток. Подождите {seconds} с.", e_invalid: "Проверьте: {detail}", e_offline: "Нет связи.",
  e_not_friends: "Вы больше не друзья.", e_user_not_found: "Такого человека нет.", e_other: "Не получилось. Попробуйте чуть позже.",
  e_overloaded: "Сервер занят. Попробуйте чуть позже.", e_history_lost: "Сейчас ничего нельзя изменить: сервер восстанавливают.",
  e_at_username: "В имени пользователя от 3 до 32 знаков: a–z, 0–9, _ и .; некоторые имена заняты системой.",
  e_at_display_name: "В имени от 1 до 64 видимых знаков.", e_at_bio: "В тексте о себе до 500 видимых знаков.", e_at_text: "В сообщении от 1 до 4000 знаков, и не одни пробелы.",
  e_weak_password: "Такой пароль подбирают первым. Выберите менее частый, без вашего имени и адреса.",
  e_at_password: "В пароле от 8 знаков до 1024 байт.", e_at_new_password: "В пароле от 8 знаков до 1024 байт.",
  shortcut: "Ctrl+K — поиск, Alt+↑ и Alt+↓ — другой чат, Esc — назад.",
  e_request_too_soon: "Этот человек отклонил запрос. Попробуйте позже.", e_too_many_pending_requests: "Слишком много запросов ждут ответа. Сначала отзовите часть.",
  loading: "Загрузка…", beginning: "Начало разговора",
  skip: "К разговору",
};

export const LANGUAGES = { en: "English", ru: "Русский" };
export const WORDS = { en: ENGLISH, ru: RUSSIAN };
let language = "en", region = "en";

export function currentLanguage() {
  return language;
}

/** The language that was chosen, else the first of the browser's that we speak. */
export function chooseLanguage(chosen) {
  const wanted = [chosen, ...navigator.languages].map((one) => one?.slice(0, 2)).find((one) => one in WORDS);
  language = wanted ?? "en";
  // Times and numbers as they are written where somebody lives, in the language that was chosen.
  region = navigator.languages.find((one) => one.slice(0, 2) === language) ?? language;
  document.documentElement.lang = language;
  document.title = t("app");
}

/** The language with its region, for times and numbers. */
export function locale() {
  return region;
}

/** A phrase; `n` chooses its plural, names in braces are replaced. */
export function t(key, values = {}) {
  let phrase = WORDS[language][key] ?? ENGLISH[key] ?? key;
  if (typeof phrase === "object") phrase = phrase[new Intl.PluralRules(language).select(values.n)] ?? phrase.other;
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** What went wrong, in words: an error of the interface by its code. */
export function reason(error) {
  if (error?.code === "rate_limited") return t("e_rate_limited", { seconds: error.retryAfter || 1 });
  if (error?.code === "invalid") return error.errors?.map(wrong).join(" ") || t("e_invalid", { detail: error.detail });
  if (error?.offline) return t("e_offline");
  const key = `e_${error?.code}`;
  return key in ENGLISH ? t(key) : t("e_other");
}

/** What is wrong with one field, in the language chosen where there are words for it. */
function wrong({ path, message, code }) {
  const key = code ? `e_${code}` : `e_at${path.replaceAll("/", "_")}`;
  return key in ENGLISH ? t(key) : t("e_invalid", { detail: message });
}

// Made once each: to make one takes longer than to use it, and a long conversation asks hundreds of times.
const formats = new Map();

function shown(when, options) {
  const key = `${region} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) formats.set(key, format = new Intl.DateTimeFormat(region, options));
  return format.format(when instanceof Date ? when : new Date(when));
}

export function clock(when) {
  return shown(when, { hour: "2-digit", minute: "2-digit" });
}

export function day(when) {
  const moment = new Date(when), now = new Date();
  const age = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(moment).setHours(0, 0, 0, 0)) / 86_400_000);
  if (age === 0) return t("today");
  if (age === 1) return t("yesterday");
  return shown(moment, { day: "numeric", month: "long", ...(moment.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) });
}

/** As short as a list wants it: the time today, else the day. */
export function brief(when) {
  const moment = new Date(when);
  if (moment.toDateString() === new Date().toDateString()) return clock(when);
  return shown(moment, { day: "numeric", month: "short" });
}

export function full(when) {
  return shown(when, { dateStyle: "medium", timeStyle: "short" });
}
