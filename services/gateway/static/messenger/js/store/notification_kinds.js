// What a notification is about, by its kind.

import { word } from "../i18n.js";

const ACCOUNT = new Set(["data_export", "erasure_cancelled", "erasure_requested", "new_device", "password_changed", "password_reset", "email_changed", "refresh_token_reused", "two_factor_on", "two_factor_off"]);
const PEOPLE = new Set(["friend_accepted", "friend_expired", "friend_reminder", "friend_request", "message"]);
const REQUESTS = new Set(["friend_expired", "friend_reminder", "friend_request"]);

/** Whether it is about the security of the user's own account. */
export function isAboutAccount({ kind }) {
  return ACCOUNT.has(kind);
}

/** Whether it is about another person. */
export function isAboutPerson({ kind }) {
  return PEOPLE.has(kind);
}

/** Whether it is about a request that the user can answer. */
export function asksForAnswer({ kind }) {
  return kind === "friend_request" || kind === "friend_reminder";
}

/** What happened; a gateway that is newer than this page may send kinds that it has no words for. */
export function notificationText(notification, name = "") {
  return word("notification", notification.kind, { name });
}

/** The view to look at because of it. */
export function notificationHash(notification) {
  if (isAboutAccount(notification)) return "#/settings/sessions";
  if (!isAboutPerson(notification)) return "#/notifications";
  return REQUESTS.has(notification.kind) ? "#/people" : `#/chat/${notification.from_user_id}`;
}
