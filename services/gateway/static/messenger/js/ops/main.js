// The operators' page: operators who are logged in to the messenger see the live state of the system.

import * as api from "../api.js";
import { changePreference, getPreference, lastUser, rememberUser } from "../preferences.js";
import { el, fill, icon } from "../dom.js";
import { forgetAllOf } from "../storage.js";
import { backoffDelay } from "../backoff.js";
import { chooseLanguage, currentLanguage, errorText, LANGUAGES, t } from "../i18n.js";
import { Anomalies } from "./audit/anomalies.js";
import { Events } from "./events.js";
import { DeadLetters } from "./dead_letters.js";
import { showDenied, showLogin } from "./login.js";
import { Logins } from "./audit/logins.js";
import { Lookup } from "./lookup.js";
import { Maintenance } from "./maintenance.js";
import { Operators } from "./audit/operators.js";
import { Overview } from "./overview.js";
import { Reports } from "./reports.js";
import { say } from "./i18n.js";

const app = document.getElementById("app"), notes = document.getElementById("notes");
const SECTIONS = { overview: ["chart", Overview], events: ["list", Events], letters: ["warn", DeadLetters], reports: ["flag", Reports], logins: ["people", Logins], operators: ["shield", Operators], anomalies: ["eye", Anomalies], lookup: ["search", Lookup], maintenance: ["gear", Maintenance] };
const NOTE_MS = 6_000, LONGEST_PAUSE_MS = 15_000;
const DENIED = new Set(["not_an_operator", "second_factor_required", "reauthentication_required"]);
const LATER_DENIED = new Set([...DENIED, "not_found"]);
// Requests later than this after the operator's last input are the page's own polling.
const ATTENDED_MS = 10_000;
let page = null;

class Page {
  constructor(status) {
    this.status = status;
    this.views = {};
    this.paused = false;
    this.closed = false;
    this.failing = 0;
    this.sleeping = new Set();
    this.main = el("main", { id: "main", tabindex: "-1" });
    this.deadLettersBadge = el("span", { class: "badge", hidden: true });
    this.view("overview").setStatus(status);
    addEventListener("hashchange", this.route);
    document.addEventListener("visibilitychange", this.wake);
    addEventListener("online", this.wake);
    this.draw();
    this.#pollStatus();
    this.#pollView();
  }

  close() {
    this.closed = true;
    removeEventListener("hashchange", this.route);
    document.removeEventListener("visibilitychange", this.wake);
    removeEventListener("online", this.wake);
    this.wake();
  }

  view(name) {
    this.views[name] ??= new SECTIONS[name][1](showError, note);
    return this.views[name];
  }

  get section() {
    const [name] = location.hash.slice(2).split("?");
    return name in SECTIONS ? name : "overview";
  }

  route = () => {
    this.#drawNavigation();
    this.#show().catch(showError);
    this.main.focus({ preventScroll: true });
    // On a phone the sections are wider than the screen.
    this.links.find((link) => link.ariaCurrent)?.scrollIntoView({ inline: "nearest", block: "nearest" });
    scrollTo(0, 0);
  };

  wake = () => {
    for (const end of [...this.sleeping]) end();
  };

  draw() {
    document.title = `${say("title")} · ${t("app")}`;
    this.pauseButton = el("button", { class: "pulse quiet", type: "button", title: say("pause_hint"), onclick: () => {
      this.paused = !this.paused;
      this.#drawState();
      this.wake();
    } }, el("i", {}), el("span", { class: "words" }));
    this.links = Object.entries(SECTIONS).map(([name, [picture]]) => el("a", { href: `#/${name}`, data: { name } }, icon(picture), el("span", {}, say(name)), name === "letters" && this.deadLettersBadge));
    fill(app, el("div", { class: "ops" },
      el("header", { class: "bar" },
        el("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); this.main.focus(); } }, say("skip")),
        el("h1", { class: "brand" }, el("img", { src: "/web/icon.svg", alt: "" }), t("app"), el("small", {}, say("title"))),
        el("nav", { class: "sections", aria: { label: say("sections") } }, this.links),
        el("div", { class: "end" }, this.pauseButton)),
      this.main,
      el("footer", {},
        el("a", { href: "/" }, say("messenger")),
        Object.entries(LANGUAGES).map(([code, name]) => el("button", { class: "quiet", type: "button", lang: code, aria: { pressed: String(code === currentLanguage()) }, onclick: () => changePreference("language", code) }, name)),
        el("select", { aria: { label: t("theme") }, onchange: ({ target }) => changePreference("theme", target.value) }, ["system", "light", "dark"].map((theme) => el("option", { value: theme, selected: (getPreference("theme") ?? "system") === theme }, t(`theme_${theme}`)))),
        el("button", { class: "quiet", type: "button", onclick: logOut }, say("log_out")))));
    for (const view of Object.values(this.views)) view.draw();
    this.#drawNavigation();
    this.#drawState();
    this.#show().catch(showError);
  }

  async #show() {
    const view = this.view(this.section);
    if (this.main.firstElementChild !== view.node) this.main.replaceChildren(view.node);
    view.setStatus?.(this.status);
    view.draw();
    if (view.open) await view.open(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  }

  #drawNavigation() {
    for (const link of this.links) {
      if (link.dataset.name === this.section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const failed = this.status.projections.reduce((total, projection) => total + projection.dead_letters.failed, 0);
    this.deadLettersBadge.hidden = !failed;
    this.deadLettersBadge.textContent = failed;
  }

  #drawState() {
    this.pauseButton.setAttribute("aria-pressed", String(this.paused));
    this.pauseButton.classList.toggle("lost", this.failing > 0 && !this.paused);
    this.pauseButton.lastElementChild.textContent = say(this.paused ? "paused" : this.failing ? "lost" : "live");
    if (matchMedia("(max-width: 420px)").matches) this.pauseButton.setAttribute("aria-label", this.pauseButton.lastElementChild.textContent);
  }

  /** Polls the status in every section, so that the charts have no gaps and the badge of dead letters is current. */
  #pollStatus() {
    return this.#poll(() => Overview.pollMs, async () => {
      this.status = await api.get("/v1/ops/status");
      this.view("overview").setStatus(this.status);
      this.views.maintenance?.setStatus(this.status);
      if (this.section === "overview") this.view("overview").draw();
      this.#drawNavigation();
    });
  }

  #pollView() {
    return this.#poll(() => SECTIONS[this.section][1].pollMs, () => this.view(this.section).tick?.());
  }

  /** Calls `work` at an interval while the page is visible, and less often while it fails. */
  async #poll(interval, work) {
    let failures = 0, retryAfter = 0;
    while (!this.closed) {
      await this.#sleep(failures ? backoffDelay(Math.min(LONGEST_PAUSE_MS, interval() * 2 ** failures), retryAfter) : interval());
      if (this.closed || this.paused || document.hidden) continue;
      try {
        await work();
        if (failures) this.failing = 0;
        failures = 0;
      } catch (error) {
        if (this.closed) return;
        if (LATER_DENIED.has(error.code)) return void denied(error);
        failures = Math.min(failures + 1, 4);
        retryAfter = error.retryAfter;
        this.failing = 1;
      }
      this.#drawState();
    }
  }

  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.sleeping.delete(end);
        resolve();
      };
      const timer = setTimeout(end, milliseconds);
      this.sleeping.add(end);
    });
  }
}

/** Shows an error for a moment. */
function showError(error) {
  if (DENIED.has(error.code)) return denied(error);
  if (error.code === "not_found") return note(say("e_not_found"));
  if (error.code === "maintenance_under_way") return note(say("e_under_way"));
  note(error.code === "invalid" || error.code === "unavailable" ? say("e_other", { detail: error.detail }) : errorText(error));
}

function note(text) {
  // What is outside of an open dialog can neither be read aloud nor reached.
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1), line = el("p", { role: dialog && "alert" }, text);
  (dialog ?? notes).append(line);
  setTimeout(() => line.remove(), NOTE_MS);
}

function close() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  page?.close();
  page = null;
}

/** Shows the login. */
function welcome(intro = "") {
  close();
  showLogin(app, intro, async () => {
    rememberUser(api.currentSession());
    await enter();
  });
}

/** For a user who is logged in but may not enter: no operator, no second factor, or a login that is too old. */
function denied(error) {
  if (error.code === "reauthentication_required") return welcome(say("log_in_again"));
  close();
  showDenied(app, error, { again: () => enter().catch(showError), logOut });
}

async function logOut() {
  const owner = api.currentSession()?.user_id;
  await api.logOut().catch(() => {});
  rememberUser(null);
  if (owner) await forgetAllOf(owner);
  welcome(t("ended_logout"));
}

async function enter() {
  let status;
  try {
    status = await api.get("/v1/ops/status");
  } catch (error) {
    if (LATER_DENIED.has(error.code)) return denied(error);
    throw error;
  }
  close();
  page = new Page(status);
}

function redraw() {
  chooseLanguage(getPreference("language"));
  document.documentElement.dataset.theme = getPreference("theme") ?? "system";
  if (page) page.draw();
  else if (api.currentSession()) enter().catch(showError);
  else welcome();
}

async function begin() {
  chooseLanguage(getPreference("language"));
  document.documentElement.dataset.theme = getPreference("theme") ?? "system";
  api.onSessionEnded(() => welcome(t("ended")));
  if (!lastUser()) return welcome();
  try {
    await api.resume();
  } catch (error) {
    if (!error.passing) rememberUser(null);
    return welcome(error.passing ? errorText(error) : "");
  }
  await enter().catch((error) => welcome(errorText(error)));
}

/** Polling does not keep the operator's login alive: only what they do counts as activity. */
function markPolling() {
  let last = performance.now();
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { last = performance.now(); }, { capture: true, passive: true });
  api.addHeaders(() => (performance.now() - last > ATTENDED_MS ? { "Vestnik-Unattended": "true" } : {}));
}

changePreference.listen(redraw);
markPolling();
begin();
