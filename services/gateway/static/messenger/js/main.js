// Opens the messenger: language and colours, the session that is there or the way to one, then the view of the address.

import * as api from "./api.js";
import { forgetAllOf, forgetSeenOf } from "./storage.js";
import { chosen, choose, erasures, me, rememberErasure, rememberMe } from "./preferences.js";
import { Store } from "./store/store.js";
import { chooseLanguage, full, t } from "./i18n.js";
import { Shell } from "./views/layout.js";
import { welcome } from "./views/welcome.js";

// For recover.js: every module is there.
document.documentElement.dataset.loaded = "true";

const app = document.getElementById("app");
let shell = null;
// Whose session ended in this page: they find the view that they were at after their next login, another person does not.
let before = null;
const REASON_MS = 1_500;
// Ends after which nothing of the user stays in this browser.
const FINAL = new Set(["logout", "account_erased"]);
// Where the page was not told when an account is deleted.
const LONGEST_GRACE_MS = 90 * 86_400_000;
// Whether a deletion of the account is on its way.
let deleting = false;
// How long the page waits for a session before it shows what was kept; its requests go on.
const SESSION_MS = 3_000;
// What the links in mails begin with, and the page that each opens.
const MAILED = { "#/confirm/": "registration", "#/not-me/": "not_me", "#/reset/": "confirm", "#/undo-email-change/": "undo" };
// Page and token of the mail whose link was opened; null once the token was used or refused.
let mailed = null;

function settled() {
  mailed = null;
}

function mailedLink() {
  return Object.keys(MAILED).find((link) => location.hash.startsWith(link));
}

/** Takes the token out of the address, so that it stays in no history. */
function takeMailed() {
  const link = mailedLink();
  if (!link) return;
  mailed = { page: MAILED[link], token: location.hash.slice(link.length) };
  history.replaceState(null, "", location.pathname);
}

/** A view may be asked for by a path, such as `/people`: the page's own addresses are `#/people`. */
function takePath() {
  if (location.pathname !== "/") history.replaceState(null, "", `/#${location.pathname}`);
}

function enter(who) {
  rememberMe(who);
  rememberErasure(who.user_id, null);
  api.expect(who.user_id);
  const store = new Store(who);
  store.addEventListener("ended", ({ detail }) => { if (!deleting) leave(detail.reason); });
  shell = new Shell(app, store, { logOut, deleteAccount });
  shell.open();
}

/** `at`: when the account is erased. */
async function leave(reason, at = null) {
  if (!shell) return;
  shell.close();
  const { user_id: owner } = shell.store.me;
  shell = null;
  api.forget();
  if (me()?.user_id === owner) rememberMe(null);
  // Who logs out leaves nothing here, nor does a deleted account; whose session was ended otherwise finds what they wrote
  // after the next login, which may take back a deletion.
  const final = FINAL.has(reason);
  rememberErasure(owner, reason === "erasure_requested" ? at ?? new Date(Date.now() + LONGEST_GRACE_MS).toISOString() : null);
  await (final ? forgetAllOf(owner) : forgetSeenOf(owner));
  if (final) location.hash = "";
  else before = owner;
  const known = {
    logout: "ended_logout", revoked_elsewhere: "ended_elsewhere", password_changed: "ended_password", password_reset: "ended_password",
    erasure_requested: at ? "ended_deletion_until" : "ended_deletion", account_erased: "ended_erased",
  };
  welcome(app, { entered, note: reason ? t(known[reason] ?? "ended", { when: at && full(at) }) : "" });
}

async function logOut() {
  await api.logOut().catch(() => {});
  await leave("logout");
}

/** Requests the deletion of the account, which ends this session: the answer says until when a login cancels it. */
async function deleteAccount(password) {
  deleting = true;
  try {
    const { erased_at: at } = await api.ask("DELETE", "/v1/users/me", { body: { password } });
    await leave("erasure_requested", at);
  } finally {
    deleting = false;
  }
}

function entered() {
  const who = api.who();
  if (before && before !== who.user_id) location.hash = "";
  before = null;
  enter(who);
  shell.store.notifications.causing("new_device");
  if (api.hasKeptAccount()) shell.notices.add({ kind: "erasure_cancelled" });
}

/** After a change of language everything is said anew. */
function redraw() {
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  if (shell) shell.draw();
  else welcome(app, { entered, note: "", mailed, settled });
}


/** Nothing is left here of accounts that are deleted by now. */
async function forgetErased() {
  for (const [owner, at] of Object.entries(erasures())) {
    if (Date.parse(at) > Date.now()) continue;
    await forgetAllOf(owner);
    rememberErasure(owner, null);
  }
}

async function begin() {
  forgetErased();
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  api.whenEnded(() => {
    // The live stream says in a moment why, where it still stands.
    const over = shell;
    if (over) setTimeout(() => shell === over && !deleting && leave("ended"), REASON_MS);
  });
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register("/sw.js").catch(() => {});
    // A notification was clicked.
    navigator.serviceWorker.addEventListener("message", ({ data }) => { location.hash = data.open; });
  }
  takePath();
  takeMailed();
  const known = me();
  // A mail's link is answered first, whoever is logged in here.
  if (mailed) return welcome(app, { entered, note: "", mailed, settled });
  if (!known) return welcome(app, { entered, note: "" });
  const session = api.resume();
  try {
    const late = new Promise((resolve) => setTimeout(resolve, SESSION_MS));
    enter(await Promise.race([session, late]) ?? known);
  } catch (error) {
    if (error.passing) return enter(known);
    rememberMe(null);
    // The session was ended while no page was open.
    await forgetSeenOf(known.user_id);
    welcome(app, { entered, note: "" });
  }
}

// The link opened in a page that is there already.
addEventListener("hashchange", () => { if (mailedLink()) location.reload(); });
choose.listen(redraw);
begin();
