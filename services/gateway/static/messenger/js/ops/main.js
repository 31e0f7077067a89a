// The operators' page: whoever is logged in to the messenger and is an operator sees the system move.

import * as api from "../api.js";
import { choose, chosen, me, rememberMe } from "../preferences.js";
import { el, fill, icon } from "../dom.js";
import { forgetAllOf } from "../storage.js";
import { pauseFor } from "../pauses.js";
import { chooseLanguage, currentLanguage, LANGUAGES, reason, t } from "../i18n.js";
import { Anomalies } from "./audit/anomalies.js";
import { Events } from "./events.js";
import { Letters } from "./dead_letters.js";
import { showDenied, showLogin } from "./login.js";
import { Logins } from "./audit/logins.js";
import { Lookup } from "./lookup.js";
import { Maintenance } from "./maintenance.js";
import { Operators } from "./audit/operators.js";
import { Overview } from "./overview.js";
import { Reports } from "./reports.js";
import { say } from "./i18n.js";

const app = document.getElementById("app"), notes = document.getElementById("notes");
const SECTIONS = { overview: ["chart", Overview], events: ["list", Events], letters: ["warn", Letters], reports: ["flag", Reports], logins: ["people", Logins], operators: ["shield", Operators], anomalies: ["eye", Anomalies], lookup: ["search", Lookup], maintenance: ["gear", Maintenance] };
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
    this.pause = 0;
    this.sleeping = new Set();
    this.main = el("main", { id: "main", tabindex: "-1" });
    this.dead = el("span", { class: "badge", hidden: true });
    this.view("overview").take(status);
    addEventListener("hashchange", this.route);
    document.addEventListener("visibilitychange", this.wake);
    addEventListener("online", this.wake);
    this.draw();
    this.#watch();
    this.#follow();
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
    this.#marks();
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
    this.pulse = el("button", { class: "pulse quiet", type: "button", title: say("pause_hint"), onclick: () => {
      this.paused = !this.paused;
      this.#state();
      this.wake();
    } }, el("i", {}), el("span", { class: "words" }));
    this.links = Object.entries(SECTIONS).map(([name, [picture]]) => el("a", { href: `#/${name}`, data: { name } }, icon(picture), el("span", {}, say(name)), name === "letters" && this.dead));
    fill(app, el("div", { class: "ops" },
      el("header", { class: "bar" },
        el("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); this.main.focus(); } }, say("skip")),
        el("h1", { class: "brand" }, el("img", { src: "/web/icon.svg", alt: "" }), t("app"), el("small", {}, say("title"))),
        el("nav", { class: "sections", aria: { label: say("sections") } }, this.links),
        el("div", { class: "end" }, this.pulse)),
      this.main,
      el("footer", {},
        el("a", { href: "/" }, say("messenger")),
        Object.entries(LANGUAGES).map(([code, name]) => el("button", { class: "quiet", type: "button", lang: code, aria: { pressed: String(code === currentLanguage()) }, onclick: () => choose("language", code) }, name)),
        el("select", { aria: { label: t("theme") }, onchange: ({ target }) => choose("theme", target.value) }, ["system", "light", "dark"].map((one) => el("option", { value: one, selected: (chosen("theme") ?? "system") === one }, t(`theme_${one}`)))),
        el("button", { class: "quiet", type: "button", onclick: logOut }, say("log_out")))));
    for (const view of Object.values(this.views)) view.draw();
    this.#marks();
    this.#state();
    this.#show().catch(showError);
  }

  async #show() {
    const view = this.view(this.section);
    if (this.main.firstElementChild !== view.node) this.main.replaceChildren(view.node);
    view.take?.(this.status);
    view.draw();
    if (view.open) await view.open(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  }

  #marks() {
    for (const link of this.links) {
      if (link.dataset.name === this.section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const failed = this.status.projections.reduce((total, one) => total + one.dead_letters.failed, 0);
    this.dead.hidden = !failed;
    this.dead.textContent = failed;
  }

  #state() {
    this.pulse.setAttribute("aria-pressed", String(this.paused));
    this.pulse.classList.toggle("lost", this.pause > 0 && !this.paused);
    this.pulse.lastElementChild.textContent = say(this.paused ? "paused" : this.pause ? "lost" : "live");
    if (matchMedia("(max-width: 420px)").matches) this.pulse.setAttribute("aria-label", this.pulse.lastElementChild.textContent);
  }

  /** The status of the whole, whichever section is shown: lines have no gaps, and the mark of dead letters is true. */
  #watch() {
    return this.#repeat(() => Overview.every, async () => {
      this.status = await api.get("/v1/ops/status");
      this.view("overview").take(this.status);
      this.views.maintenance?.take(this.status);
      if (this.section === "overview") this.view("overview").draw();
      this.#marks();
    });
  }

  #follow() {
    return this.#repeat(() => SECTIONS[this.section][1].every, () => this.view(this.section).tick?.());
  }

  /** Again and again, while somebody looks; slower where nobody answers. */
  async #repeat(every, work) {
    let failures = 0, retryAfter = 0;
    while (!this.closed) {
      await this.#sleep(failures ? pauseFor(Math.min(LONGEST_PAUSE_MS, every() * 2 ** failures), retryAfter) : every());
      if (this.closed || this.paused || document.hidden) continue;
      try {
        await work();
        if (failures) this.pause = 0;
        failures = 0;
      } catch (error) {
        if (this.closed) return;
        if (LATER_DENIED.has(error.code)) return void denied(error);
        failures = Math.min(failures + 1, 4);
        retryAfter = error.retryAfter;
        this.pause = 1;
      }
      this.#state();
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

/** What went wrong, for a moment. */
function showError(error) {
  if (DENIED.has(error.code)) return denied(error);
  if (error.code === "not_found") return note(say("e_not_found"));
  if (error.code === "maintenance_under_way") return note(say("e_under_way"));
  note(error.code === "invalid" || error.code === "unavailable" ? say("e_other", { detail: error.detail }) : reason(error));
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

/** The way in, for who is not logged in. */
function welcome(said = "") {
  close();
  showLogin(app, said, async () => {
    rememberMe(api.who());
    await enter();
  });
}

/** Logged in, and not let in: no operator, without a second factor, or for too long. */
function denied(error) {
  if (error.code === "reauthentication_required") return welcome(say("log_in_again"));
  close();
  showDenied(app, error, { again: () => enter().catch(showError), logOut });
}

async function logOut() {
  const owner = api.who()?.user_id;
  await api.logOut().catch(() => {});
  rememberMe(null);
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
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  if (page) page.draw();
  else if (api.who()) enter().catch(showError);
  else welcome();
}

async function begin() {
  chooseLanguage(chosen("language"));
  document.documentElement.dataset.theme = chosen("theme") ?? "system";
  api.whenEnded(() => welcome(t("ended")));
  if (!me()) return welcome();
  try {
    await api.resume();
  } catch (error) {
    if (!error.passing) rememberMe(null);
    return welcome(error.passing ? reason(error) : "");
  }
  await enter().catch((error) => welcome(reason(error)));
}

/** Polling does not keep the operator's login alive: only what they do counts as activity. */
function markPolling() {
  let last = performance.now();
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { last = performance.now(); }, { capture: true, passive: true });
  api.addHeaders(() => (performance.now() - last > ATTENDED_MS ? { "Vestnik-Unattended": "true" } : {}));
}

choose.listen(redraw);
markPolling();
begin();
