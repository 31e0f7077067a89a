// Read models verified, rebuilt and controlled: what runs now with its progress, and what came of the last ones.

import { get, post } from "../api.js";
import { el, icon } from "../dom.js";
import { kind } from "./overview.js";
import { moment, number, percent, rate, say, span, word } from "./i18n.js";

export class Maintenance {
  static every = 1_000;

  constructor(showError, note) {
    this.showError = showError;
    this.note = note;
    // By name: the state of each read model.
    this.states = new Map();
    this.state = "";
    this.projections = el("div", {});
    // Said once when it changes, not with every step of the progress.
    this.news = el("p", { class: "soft", role: "status" });
    this.jobs = el("div", { class: "letters" });
    this.node = el("div", {}, this.projections, this.news, this.jobs);
  }

  async open() {
    await this.tick();
  }

  async tick() {
    const found = await get("/v1/ops/maintenance");
    const state = JSON.stringify(found);
    if (state === this.state) return;
    const before = this.found;
    this.state = state;
    this.found = found;
    this.#drawJobs();
    if (before?.items[0]?.state !== found.items[0]?.state || !this.projections.firstChild) this.#drawProjections();
  }

  /** Takes a status in. */
  take(status) {
    const before = this.#shown;
    this.states = new Map(status.projections.map((one) => [one.name, one]));
    if (this.found && this.#shown !== before) this.#drawProjections();
  }

  /** What is shown of the states, to compare. */
  get #shown() {
    return JSON.stringify([...this.states.values()].map((one) => [one.name, one.state, one.pause]));
  }

  draw() {
    if (!this.found) return;
    this.#drawProjections();
    this.#drawJobs();
  }

  get #running() {
    const [first] = this.found.items;
    return first?.state === "running" ? first : null;
  }

  #drawProjections() {
    const busy = this.#running !== null;
    const focused = this.projections.contains(document.activeElement) ? document.activeElement.dataset.name : "";
    const button = (label, kind, name, work) => el("button", { type: "button", disabled: busy, data: { name: `${kind} ${name}` }, aria: { label: `${say(label)}: ${name}` }, onclick: work }, say(label));
    this.projections.replaceChildren(
      el("p", { class: "soft" }, say("maintenance_hint")),
      el("ul", { class: "aggregates panel-wide models" }, this.found.projections.map((name) => el("li", {},
        el("span", { class: "name" }, name),
        this.#state(name),
        el("span", { class: "row-actions" },
          button("verify", "verify", name, () => this.#start("verify", name)),
          button("rebuild", "rebuild", name, () => this.#ask(name)),
          this.#controls(name).map((control) => el("button", { type: "button", data: { name: `${control} ${name}` }, aria: { label: `${say(`control_${control}`)}: ${name}` }, onclick: () => this.#control(control, name) }, say(`control_${control}`))))))));
    if (focused) this.projections.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    this.news.textContent = this.found.items.length ? say("job_news", { what: heading(this.found.items[0]), state: word("j", this.found.items[0].state) }) : "";
  }

  #state(name) {
    const state = this.states.get(name);
    if (!state) return "";
    const { pause } = state;
    return el("span", {}, el("span", { class: `pill ${kind(state.state)}` }, word("s", state.state)),
      pause && el("small", { class: "soft" }, " ", say("paused_by", { name: pause.paused_by, when: moment(pause.paused_at), reason: pause.reason })));
  }

  /** What can be done to a read model as it is. */
  #controls(name) {
    const state = this.states.get(name);
    if (!state) return [];
    return [state.pause ? "resume" : "pause", ...(state.state === "failed" ? ["skip"] : []), "reset"];
  }

  #control(control, name) {
    const reason = el("input", { id: "reason", name: "reason", required: true, maxlength: 1000, autocomplete: "off" });
    const go = el("button", { type: "submit", class: "primary" }, say(`control_${control}_now`));
    const dialog = el("dialog", { aria: { labelledby: "control-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        go.disabled = true;
        post("/v1/ops/projections", { projection: name, control, reason: reason.value }).then(async () => {
          dialog.close();
          this.take(await get("/v1/ops/status"));
          this.note(say(`control_${control}_done`, { name }));
        }).catch((error) => {
          go.disabled = false;
          this.showError(error);
        });
      } },
      el("h2", { id: "control-title" }, say(`control_${control}_title`, { name })), el("p", {}, say(`control_${control}_hint`)),
      el("div", { class: "field" }, el("label", { for: "reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), go)));
    document.body.append(dialog);
    dialog.showModal();
  }

  #drawJobs() {
    const focused = this.jobs.contains(document.activeElement);
    this.jobs.replaceChildren(...this.found.items.map((one) => this.#job(one)));
    if (focused) (this.jobs.querySelector("button") ?? this.jobs.querySelector("[tabindex]"))?.focus();
  }

  #job(one) {
    const wrong = one.state === "failed" || one.verified?.equal === false;
    const kind = one.state === "running" || one.state === "cancelled" ? "wait" : wrong ? "bad" : "good";
    return el("article", { class: `letter panel-wide job ${kind}` },
      el("header", {}, el("h3", { tabindex: "-1" }, heading(one)), el("span", { class: `pill ${kind}` }, one.verified ? say(one.verified.equal ? "equal" : "differs") : word("j", one.state)),
        el("span", { class: "soft" }, say("by", { name: one.by, when: moment(one.started_at) }))),
      one.state === "running" && running(one),
      one.state === "running" && el("div", { class: "row-actions" }, el("button", { type: "button", onclick: ({ target }) => this.#cancel(one, target) }, say("cancel"))),
      one.error && el("p", { class: "why" }, one.error),
      one.verified && verified(one.verified),
      one.rebuilt_key && el("p", { class: "facts" }, el("span", {}, say("version", one.rebuilt_key)), el("span", {}, say("rows", { n: one.rebuilt_key.rows })), el("span", {}, say("job_events", { n: one.rebuilt_key.events }))),
      one.rebuilt && el("p", { class: "facts" }, el("span", {}, say("version", one.rebuilt)), el("span", {}, say("job_read", { n: one.rebuilt.events, span: span(one.rebuilt.seconds), rate: rate(one.rebuilt.events_per_second) })),
        one.rebuilt.replaced !== null && el("span", {}, say("job_kept", { build: one.rebuilt.replaced })), one.rebuilt.dead_letters > 0 && el("span", {}, say("dead_now", { n: one.rebuilt.dead_letters }))));
  }

  #start(kind, projection, options = {}) {
    return post("/v1/ops/maintenance", { kind, projection, ...options }).then(() => this.tick()).catch((error) => this.showError(error));
  }

  #cancel(one, button) {
    button.disabled = true;
    post("/v1/ops/maintenance/cancel", { id: one.id }).then(() => this.tick()).catch((error) => this.showError(error));
  }

  #ask(name) {
    const field = (key, more) => el("div", { class: "field" }, el("label", { for: key }, say(`rebuild_${key}`)), el("input", { id: key, name: key, autocomplete: "off", ...more }));
    // What is left empty is not sent.
    const options = ({ elements: { reason, only, rate } }) => ({ ...(reason.value && { reason: reason.value }), ...(only.value && { only: only.value }), ...(rate.value && { rate: Number(rate.value) }) });
    const dialog = el("dialog", { aria: { labelledby: "rebuild-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => { event.preventDefault(); dialog.close(); this.#start("rebuild", name, options(event.target)); } },
        el("h2", { id: "rebuild-title" }, say("rebuild_title", { name })), el("p", {}, say("rebuild_hint")),
        field("reason", { maxlength: 1000 }), field("only", { maxlength: 1000 }), field("rate", { type: "number", min: 1, max: 10_000_000 }),
        el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), el("button", { type: "submit", class: "primary" }, say("rebuild")))));
    document.body.append(dialog);
    dialog.showModal();
  }
}

function heading(one) {
  return say(`job_${one.kind}`, { name: one.scope?.only ? `${one.projection}, ${one.scope.only}` : one.projection });
}

function running(one) {
  const { progress } = one;
  if (!progress) return el("p", { class: "soft" }, say("job_begins"));
  const share = progress.total ? Math.min(1, progress.events / progress.total) : 0;
  const left = progress.waits_for ?? (progress.seconds_left === null ? percent(share) : say("progress", { percent: percent(share), left: span(progress.seconds_left) }));
  return el("div", {}, el("progress", { max: 1, value: share, aria: { label: heading(one) } }),
    el("p", { class: "facts num" }, el("span", {}, left), el("span", {}, say("of_events", { done: number(progress.events), total: number(progress.total) })), el("span", {}, say("per_second", { rate: rate(progress.events_per_second) }))));
}

function verified(found) {
  const facts = [say("rows", { n: found.rows }), say("job_events", { n: found.events }), span(found.seconds),
    found.changed ? say("rows_changed", { n: found.changed }) : "", found.missing ? say("rows_missing", { n: found.missing }) : "", found.extra ? say("rows_extra", { n: found.extra }) : "",
    found.dead_letters || found.dead_letters_rebuilt ? say("dead_both", { n: found.dead_letters, now: number(found.dead_letters_rebuilt) }) : "", found.lost.length ? say("lost_events", { places: found.lost.join(", ") }) : ""];
  return el("div", {},
    el("p", { class: "facts num" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
    found.differences.length ? el("p", { class: "soft" }, say("differences")) : "",
    found.differences.length ? el("table", { class: "table", aria: { label: say("differences") } },
      el("thead", {}, el("tr", {}, ["row_table", "row_kind", "row_key", "row_columns"].map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, found.differences.map((row) => el("tr", {},
        el("td", { data: { name: say("row_table") } }, row.table),
        el("td", { data: { name: say("row_kind") } }, word("d", row.kind)),
        el("td", { class: "mono whole", data: { name: say("row_key") } }, Object.entries(row.key).map(([name, value]) => el("div", {}, `${name} = ${value}`))),
        el("td", { class: "whole", data: { name: say("row_columns") } }, row.columns.join(", ") || "–"))))) : "");
}
