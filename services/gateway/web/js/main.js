// Opens the messenger: language and colours, the session that is there or the way to one, then the view of the address.

import * as api from "./api.js";
import { forgetAllOf } from "./kept.js";
import { chosen, choose, me, rememberMe } from "./choices.js";
import { Store } from "./store.js";
import { chooseLanguage, t } from "./words.js";
import { Shell } from "./views/shell.js";
import { welcome } from "./views/welcome.js";

const app = document.getElementById("app");
let shell = null;
const REASON_MS = 1_500;

function enter(who) {
  rememberMe(who);
  const store = new Store(who);
  store.addEventListener("ended", ({ detail }) => leave(detail.reason));
  shell = new Shell(app, store, { logOut });
  shell.open();
}

async function leave(reason) {
  if (!shell) return;
  shell.close();
  const { user_id: owner } = shell.store.me;
  shell = null;
  api.forget();
  if (me()?.user_id === owner) rememberMe(null);
  await forgetAllOf(owner);
  location.hash = "";
  const known = { logout: "ended_logout", revoked_elsewhere: "ended_elsewhere", password_changed: "ended_password", password_reset: "ended_password" };
  welcome(app, { entered, note: reason ? t(known[reason] ?? "ended") : "" });
}

async function logOut() {
  await api.logOut().catch(() => {});
  await leave("logout");
}

function entered() {
  enter(api.who());
}

/** After a change of language everything is said anew. */
function redraw() {
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  if (shell) shell.draw();
  else welcome(app, { entered, note: "" });
}


async function begin() {
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  // The live stream says in a moment why, where it still stands.
  api.whenEnded(() => setTimeout(() => leave("ended"), REASON_MS));
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js").catch(() => {});
  const known = me();
  if (!known) return welcome(app, { entered, note: "" });
  try {
    enter(await api.resume());
  } catch (error) {
    if (error.passing) return enter(known);
    rememberMe(null);
    welcome(app, { entered, note: "" });
  }
}

choose.listen(redraw);
begin();
