// The page of logins: where the user is logged in, and below it what has happened, newest first: logins and when and why
// they ended, failed attempts, and changes of the account.

import * as api from "../../api.js";
import { el, fill, icon } from "../../dom.js";
import { errorText, fullTime, t, word } from "../../i18n.js";
import { isAboutAccount, notificationText } from "../../store/notification_kinds.js";
import { deviceName, sessionsCard } from "./sessions.js";

const PAGE = 30;
// Of the attempts, those that show that the password is known.
const PASSWORD_KNOWN = new Set(["code_required", "wrong_code"]);

export function loginHistoryView(store) {
  const sessions = sessionsCard(), list = el("ul", { class: "persons timeline" });
  const problem = el("p", { class: "problem", role: "alert" });
  const unknown = el("p", { class: "problem", role: "status" });
  const older = el("button", { type: "button", hidden: true, onclick: () => older.ariaDisabled !== "true" && load(next) }, t("older"));
  const node = el("section", { class: "page" }, el("a", { class: "button quiet up", href: "#/settings" }, icon("back"), t("settings")),
    el("div", { class: "title" }, el("h2", {}, t("logins"))),
    el("p", {}, t("logins_hint"), " ", el("a", { href: "#/settings/password" }, t("change_password"))),
    sessions.node, el("div", { class: "card" }, el("h3", {}, t("login_history")), unknown, list, problem, older));
  let logins = [], attempts = [], isComplete = true, next = null, loads = 0;

  /** Loads the page at the cursor behind those that are shown; without a cursor, the newest in place of them. */
  async function load(cursor = null) {
    const number = ++loads;
    // A disabled button would lose the focus.
    older.setAttribute("aria-disabled", "true");
    try {
      const page = await api.get(`/v1/sessions/history?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      if (number !== loads) return;
      logins = cursor ? [...logins, ...page.items] : page.items;
      // Null: not known at the moment.
      attempts = [...(cursor ? attempts : []), ...(page.failed_attempts ?? [])];
      isComplete = (!cursor || isComplete) && page.failed_attempts !== null;
      next = page.next;
      problem.textContent = "";
      const focused = document.activeElement === older, shown = list.childElementCount;
      draw();
      if (cursor && focused) list.children[shown]?.focus();
    } catch (error) {
      if (number === loads) problem.textContent = errorText(error);
    }
    older.removeAttribute("aria-disabled");
  }

  function draw() {
    // Further back there may be logins that are not loaded yet.
    const since = next ? logins.at(-1)?.created_at ?? "" : "";
    const changes = store.notifications.items.filter((notification) => isAboutAccount(notification) && notification.kind !== "new_device" && notification.at >= since);
    const entries = [...logins.map((session) => [session.created_at, login(session)]), ...attempts.map((failed) => [failed.at, attempt(failed)]), ...changes.map((notification) => [notification.at, change(notification)])];
    entries.sort(([one], [other]) => other.localeCompare(one));
    fill(list, entries.map(([, entry]) => entry));
    unknown.textContent = isComplete ? "" : t("attempts_unknown");
    older.hidden = !next;
  }

  function read() {
    if (!document.hidden) store.notifications.readAboutAccount().catch(() => {});
  }

  load();
  return { node, onShown: read, update: (kind) => {
    if (kind === "sessions") sessions.draw();
    if (kind === "sessions" || kind === "account_notification") load();
    if (kind === "notifications") draw();
    if (kind === "notifications" || kind === "visible") read();
  } };
}

function login(session) {
  const ended = session.ended_at && time(word("end", session.reason, { when: fullTime(session.ended_at) }), session.ended_at);
  return row("check", deviceName(session.device), [session.address, time(t("begun", { when: fullTime(session.created_at) }), session.created_at), ended], session.current && el("strong", { class: "here" }, t("this_session")));
}

function attempt(attempt) {
  const when = attempt.count > 1 ? t("attempts", { n: attempt.count, since: fullTime(attempt.since), until: fullTime(attempt.at) }) : fullTime(attempt.at);
  return row("warn", word("attempt", attempt.reason), [attempt.address, attempt.device && deviceName(attempt.device), time(when, attempt.at)],
    PASSWORD_KNOWN.has(attempt.reason) && el("strong", { class: "why" }, t("password_known")));
}

function change(notification) {
  return row("shield", notificationText(notification), [time(fullTime(notification.at), notification.at)]);
}

function row(sign, title, parts, more) {
  const line = parts.filter(Boolean).flatMap((part, index) => (index ? [" · ", part] : [part]));
  return el("li", { class: `person session ${sign}`, tabindex: "-1" }, icon(sign), el("div", {}, el("span", { class: "who" }, title), more, el("span", { class: "soft" }, line)));
}

function time(text, when) {
  return el("time", { datetime: when }, text);
}
