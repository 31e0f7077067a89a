// Opens the messenger: language and colours, the session that is there or the way to one, then the view of the address.

import * as api from "./api.js";
import { forgetAllOf, forgetLastStateOf } from "./storage.js";
import { changePreference, getPreference, lastUser, pendingErasures, rememberErasure, rememberUser } from "./preferences.js";
import { Store } from "./store/store.js";
import { chooseLanguage, fullTime, t } from "./i18n.js";
import { Shell } from "./views/layout.js";
import { welcome } from "./views/welcome.js";

// Tells recover.js that every module is loaded.
document.documentElement.dataset.loaded = "true";

const app = document.getElementById("app");
let shell = null;
// The user whose session ended in this page: their next login returns to the view that they were at, another user's does not.
let previousOwner = null;
const REASON_MS = 1_500;
// Ends after which nothing of the user stays in this browser.
const FINAL = new Set(["logout", "account_erased"]);
// Used where no answer has said when an account is deleted.
const LONGEST_GRACE_MS = 90 * 86_400_000;
// Whether a deletion of the account is on its way.
let deleting = false;
// How long the page waits for a session before it shows what was kept; its requests go on.
const SESSION_MS = 3_000;
// What the links in mails begin with, and the page that each opens.
const MAIL_PAGES = { "#/confirm/": "registration", "#/not-me/": "not_me", "#/reset/": "confirm", "#/undo-email-change/": "undo" };
// Page and token of the mail whose link was opened; null once the token was used or refused.
let mailed = null;

function settled() {
  mailed = null;
}

function mailedLink() {
  return Object.keys(MAIL_PAGES).find((link) => location.hash.startsWith(link));
}

/** Takes the token out of the address, so that it stays in no history. */
function takeMailed() {
  const link = mailedLink();
  if (!link) return;
  mailed = { page: MAIL_PAGES[link], token: location.hash.slice(link.length) };
  history.replaceState(null, "", location.pathname);
}

/** A view may be asked for by a path, such as `/people`: the page's own addresses are `#/people`. */
function takePath() {
  if (location.pathname !== "/") history.replaceState(null, "", `/#${location.pathname}`);
}

function enter(user) {
  rememberUser(user);
  rememberErasure(user.user_id, null);
  api.setOwner(user.user_id);
  const store = new Store(user);
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
  if (lastUser()?.user_id === owner) rememberUser(null);
  // A logout or a deleted account leaves nothing in this browser. After any other end of a session what was written and
  // not sent stays for the next login, which may cancel a deletion.
  const final = FINAL.has(reason);
  rememberErasure(owner, reason === "erasure_requested" ? at ?? new Date(Date.now() + LONGEST_GRACE_MS).toISOString() : null);
  await (final ? forgetAllOf(owner) : forgetLastStateOf(owner));
  if (final) location.hash = "";
  else previousOwner = owner;
  const noteKeys = {
    logout: "ended_logout", revoked_elsewhere: "ended_elsewhere", password_changed: "ended_password", password_reset: "ended_password",
    erasure_requested: at ? "ended_deletion_until" : "ended_deletion", account_erased: "ended_erased",
  };
  welcome(app, { entered, note: reason ? t(noteKeys[reason] ?? "ended", { when: at && fullTime(at) }) : "" });
}

async function logOut() {
  await api.logOut().catch(() => {});
  await leave("logout");
}

/** Requests the deletion of the account, which ends this session: the answer says until when a login cancels it. */
async function deleteAccount(password) {
  deleting = true;
  try {
    const { erased_at: at } = await api.request("DELETE", "/v1/users/me", { body: { password } });
    await leave("erasure_requested", at);
  } finally {
    deleting = false;
  }
}

function entered() {
  const user = api.currentSession();
  if (previousOwner && previousOwner !== user.user_id) location.hash = "";
  previousOwner = null;
  enter(user);
  shell.store.notifications.asOwnAct("new_device");
  if (api.hasCancelledErasure()) shell.notices.add({ kind: "erasure_cancelled" });
}

/** Draws everything again after a change of language or colours. */
function redraw() {
  chooseLanguage(getPreference("language"));
  document.documentElement.dataset.theme = getPreference("theme") ?? "system";
  if (shell) shell.draw();
  else welcome(app, { entered, note: "", mailed, settled });
}


/** Removes what this browser keeps of accounts that are deleted by now. */
async function forgetErased() {
  for (const [owner, at] of Object.entries(pendingErasures())) {
    if (Date.parse(at) > Date.now()) continue;
    await forgetAllOf(owner);
    rememberErasure(owner, null);
  }
}

async function begin() {
  forgetErased();
  chooseLanguage(getPreference("language"));
  document.documentElement.dataset.theme = getPreference("theme") ?? "system";
  api.onSessionEnded(() => {
    // The live stream, if it is still open, says in a moment why.
    const endedShell = shell;
    if (endedShell) setTimeout(() => shell === endedShell && !deleting && leave("ended"), REASON_MS);
  });
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register("/sw.js").catch(() => {});
    // A notification was clicked.
    navigator.serviceWorker.addEventListener("message", ({ data }) => { location.hash = data.open; });
  }
  takePath();
  takeMailed();
  const known = lastUser();
  // A mail's link is answered first, whoever is logged in here.
  if (mailed) return welcome(app, { entered, note: "", mailed, settled });
  if (!known) return welcome(app, { entered, note: "" });
  const session = api.resume();
  try {
    const late = new Promise((resolve) => setTimeout(resolve, SESSION_MS));
    enter(await Promise.race([session, late]) ?? known);
  } catch (error) {
    if (error.passing) return enter(known);
    rememberUser(null);
    // The session was ended while no page was open.
    await forgetLastStateOf(known.user_id);
    welcome(app, { entered, note: "" });
  }
}

// A mail's link was opened in a page that is already open.
addEventListener("hashchange", () => { if (mailedLink()) location.reload(); });
changePreference.listen(redraw);
begin();
